"""Masks secret fields of events and requests. Which fields are secret follows from their names.

A published contract never changes, so no mark can be added to one. A field is secret if its name is `token`, `secret`
or `password`, or ends in one of these words after an underscore or a hyphen, also in the plural: `card_token`.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

MASK = "***"
SHORT = 6
"""A value of fewer characters is masked in a text only where it is a whole word."""

_WORDS = ("token", "secret", "password")
SECRET_WORD = f"(?:{'|'.join(_WORDS)})s?"
"""A regular expression of Python and of Postgres: how the name of a secret ends."""
_IS_SECRET = re.compile(rf"(?:[a-z0-9]+[_-])*{SECRET_WORD}", re.IGNORECASE)
_NAMED_VALUE = re.compile(
    rf"""(?<![a-z0-9])(?P<before>{SECRET_WORD}['")]?\s*(?:=\s*\(?|:\s*(?=['"])))"""
    r"""(?P<value>'(?:[^'\\]|\\.)*'?|"(?:[^"\\]|\\.)*"?|[^\s,;&)}\]]+)""",
    re.IGNORECASE,
)
_ECHOES = (
    re.compile(r"(input_value=).*?(, input_type=)", re.DOTALL),  # pydantic
    re.compile(r"(invalid input for query argument \$\d+: ).*( \(.*\))"),  # asyncpg
)
_SIGNS = (*_WORDS, "input_value=", "query argument")
"""Most texts contain none of these, and looking for them costs less than the patterns."""
_NO_VALUES = ("None", "null", MASK)


@lru_cache(maxsize=1_000)
def is_secret(name: str) -> bool:
    """Returns True if a field or header of this name holds a secret."""
    return bool(_IS_SECRET.fullmatch(name))


def masked(document: Any) -> Any:
    """Returns a copy of a JSON document with *** for each secret; null stays null, and says that there is none."""
    match document:
        case Mapping():
            return {
                name: MASK if is_secret(name) and value is not None else masked(value)
                for name, value in document.items()
            }
        case list() | tuple():
            return [masked(item) for item in document]
        case _:
            return document


def secrets_in(document: Any) -> set[str]:
    """Returns the values of all secret fields of a JSON document."""
    return {str(value) for _, value in _secrets(document)}


def masked_text(text: str, secrets: Iterable[str] = ()) -> str:
    """Returns the text with *** for the given secrets, for what stands after a secret's name, and for echoed input.

    Names and values are recognized as Python, JSON, URLs and Postgres write them: `card_token='…'`.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        text = _without(text, secret)
    if "=" not in text and ":" not in text:
        return text
    lowered = text.lower()
    if not any(sign in lowered for sign in _SIGNS):
        return text
    for echo in _ECHOES:
        text = echo.sub(rf"\1{MASK}\2", text)
    return _NAMED_VALUE.sub(_mask_value, text)


def restored(document: Mapping[str, Any], originals: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the document with the originals' secret in the place of each ***.

    Raises StillMasked where the originals have no secret in that place, or different ones.
    """
    known = [dict(_secrets(original)) for original in originals]

    def restore(value: Any, path: str) -> Any:
        match value:
            case Mapping():
                return {name: restore(item, f"{path}.{name}".lstrip(".")) for name, item in value.items()}
            case list():
                return [restore(item, f"{path}[{number}]") for number, item in enumerate(value)]
            case str() if value == MASK and is_secret(path.rpartition(".")[2]):
                found = {secrets[path] for secrets in known if path in secrets}
                if len(found) != 1:
                    raise StillMasked(path, has_several=bool(found))
                return found.pop()
            case _:
                return value

    return {name: restore(value, name) for name, value in document.items()}


class StillMasked(ValueError):
    """A document has *** in the place of a secret that is not known, or that could be one of several."""

    def __init__(self, path: str, has_several: bool) -> None:
        why = "could stand for one of several values" if has_several else "stands for no known value"
        super().__init__(f"{MASK} {why}: give the value itself, or null if there is none")
        self.path = path


def secret_fields(schema: Any) -> set[str]:
    """Returns the names of the secret fields of an Avro schema, of nested records too."""
    match schema:
        case {"fields": list(fields)}:
            own = {field["name"] for field in fields if is_secret(field["name"])}
            return own.union(*(secret_fields(field["type"]) for field in fields))
        case {"items": inner} | {"type": dict() | list() as inner}:
            return secret_fields(inner)
        case list():
            return set[str]().union(*(secret_fields(branch) for branch in schema))
        case _:
            return set()


def _secrets(document: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the path and the value of each secret."""
    match document:
        case Mapping():
            for name, value in document.items():
                here = f"{path}.{name}".lstrip(".")
                if is_secret(name) and value is not None:
                    yield here, value
                else:
                    yield from _secrets(value, here)
        case list() | tuple():
            for number, item in enumerate(document):
                yield from _secrets(item, f"{path}[{number}]")


def _without(text: str, secret: str) -> str:
    """Masks the secret as it is, and as Python and JSON quote it."""
    for form in {secret, repr(secret)[1:-1], json.dumps(secret)[1:-1]} - {""}:
        if form in text:
            whole = re.escape(form) if len(form) >= SHORT else rf"(?<!\w){re.escape(form)}(?!\w)"
            text = re.sub(whole, MASK, text)
    return text


def _mask_value(found: re.Match[str]) -> str:
    value = found["value"]
    if value in _NO_VALUES:
        return found[0]
    quote = value[0] if value[0] in "'\"" else ""
    return f"{found['before']}{quote}{MASK}{quote}"
