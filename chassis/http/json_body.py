"""Reads the JSON body of a request, more strictly than Python's json: RFC 8259, and I-JSON (RFC 7493) where it matters.

Python takes what others refuse or read differently: duplicate names, NaN, lone surrogates, UTF-16, and nesting at which
our own answer would fail. Postgres stores no NUL in a text. All of that is refused here, for every API.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request

from chassis.http.problems import Problem

MAX_DEPTH = 50
JSON_TYPE = re.compile(r"application/(?:json|[\w.-]+\+json)\s*(?:;\s*charset=\"?utf-8\"?\s*)?", re.IGNORECASE)
SUSPICIOUS = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
"""Escapes without which no text of a document in UTF-8 contains a NUL or a lone surrogate."""
STRINGS, BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"'), re.compile(r"[\[\]{}]")
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class JsonRequest(Request):
    """A request whose body was parsed before FastAPI asks for it."""

    _document: Any = None

    async def read(self) -> None:
        """Reads and parses the body, if there is one. Raises Problem."""
        try:
            body = await self.body()
        except ClientDisconnect as gone:
            raise Problem(
                400, "incomplete body", "The connection was closed before the body ended."
            ) from gone
        if body:
            require_json(self.headers)
            self._document = parse(body)

    async def json(self) -> Any:
        return self._document


def require_json(headers: Headers) -> None:
    """Raises Problem 415 unless the body is said to be JSON, in UTF-8 and not compressed."""
    encoding = headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        detail = f"Content-Encoding {encoding} is not supported; send the body as it is."
        raise Problem(415, "unsupported encoding", detail, headers={"Accept-Encoding": "identity"})
    if not JSON_TYPE.fullmatch(headers.get("content-type", "")):
        detail = "The body must be JSON in UTF-8, with Content-Type: application/json."
        raise Problem(415, "unsupported type", detail, headers={"Accept": "application/json"})


def parse(body: bytes) -> Any:
    """Returns the document. Raises Problem 422, which says where it is wrong."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise _invalid(f"byte {error.start} is not UTF-8") from error
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        raise _invalid(f"is nested more than {MAX_DEPTH} levels deep")
    try:
        document = _decoder.decode(text)
    except json.JSONDecodeError as error:
        raise _invalid(f"is not JSON: {error.msg} at character {error.pos}") from error
    except ValueError as error:
        raise _invalid(str(error)) from error
    if SUSPICIOUS.search(text) and (found := next(_unstorable(document), None)):
        raise Problem.of_field(*found)
    return document


def _invalid(message: str) -> Problem:
    return Problem.of_field("body", message)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object names {json.dumps(twice)[:100]} more than once")
    return found


def _finite(number: str) -> float | int:
    """Returns 145 for `145.0`, which JSON Schema says is the integer, as far as a float is exact."""
    if abs(value := float(number)) == float("inf"):
        raise ValueError(f"a number is out of range: {number[:50]}")
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _integer(number: str) -> int:
    if len(number) > 40:
        raise ValueError(f"a number is out of range: {number[:40]}…")
    return int(number)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_decoder = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_finite, parse_int=_integer, parse_constant=_no_constant
)


def _depth(text: str) -> int:
    """Returns how deep the document is nested; brackets in strings do not count."""
    depth = deepest = 0
    for bracket in BRACKETS.findall(STRINGS.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _unstorable(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yields field and message of each text that is no valid Unicode or contains NUL."""
    if isinstance(value, str):
        if UNSTORABLE.search(value):
            yield path or "body", "contains NUL or half of a surrogate pair"
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unstorable(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for name, item in value.items():
            if UNSTORABLE.search(name):
                yield path or "body", "has a name that contains NUL or half of a surrogate pair"
            yield from _unstorable(item, f"{path}.{name}".lstrip("."))
