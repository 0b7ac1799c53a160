"""Checks that an event has the types of its contract before it is encoded.

fastavro itself would write "no" as true, and a text as an array of its characters; int and long are checked for their
bounds by the events themselves.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from chassis.errors import PermanentFailure
from schemas import Event
from schemas.files import parsed_schema

Check = Callable[[Any, str], None]
"""Takes a value and its path. Raises InvalidEvent."""

TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "bytes": (bytes,),
    "boolean": (bool,),
    "int": (int,),
    "long": (int,),
    "float": (float, int),
    "double": (float, int),
}


class InvalidEvent(PermanentFailure):
    """The event does not have the types of its contract, so no reader could decode it. It is not published."""


def check(event: Event) -> None:
    """Raises InvalidEvent, with the path of the first field whose value is not of its type."""
    _check_of(type(event))(event, event.NAME)


@cache
def _check_of(event_type: type[Event]) -> Check:
    schema = parsed_schema(event_type)
    return _compiled(schema, schema["__named_schemas"])


def _compiled(schema: Any, types: dict[str, Any]) -> Check:
    """Returns the check of a value for one schema of the contracts' language."""
    match types.get(schema, schema) if isinstance(schema, str) else schema:
        case str() as name:
            return _of_type(name)
        case ["null", inner] | [inner, "null"]:
            return _nullable(_compiled(inner, types))
        case {"type": "array", "items": items}:
            return _array(_compiled(items, types))
        case {"type": "enum", "symbols": symbols}:
            return _enum(frozenset(symbols))
        case {"type": "record", "fields": fields}:
            return _record({field["name"]: _compiled(field["type"], types) for field in fields})
        case {"type": inner}:
            return _compiled(inner, types)
    raise NotImplementedError(f"no event may contain {schema}")


def _of_type(name: str) -> Check:
    allowed, is_number = TYPES[name], name not in ("string", "bytes", "boolean")

    def check(value: Any, path: str) -> None:
        if not isinstance(value, allowed) or (is_number and isinstance(value, bool)):
            raise _invalid(path, value, name)

    return check


def _nullable(inner: Check) -> Check:
    def check(value: Any, path: str) -> None:
        if value is not None:
            inner(value, path)

    return check


def _array(item: Check) -> Check:
    def check(value: Any, path: str) -> None:
        if not isinstance(value, tuple | list):
            raise _invalid(path, value, "array")
        for each in value:
            item(each, path)

    return check


def _enum(symbols: frozenset[str]) -> Check:
    def check(value: Any, path: str) -> None:
        if not isinstance(value, str) or value not in symbols:
            raise InvalidEvent(f"{path}: {value!r:.60} is not one of {', '.join(sorted(symbols))}")

    return check


def _record(fields: dict[str, Check]) -> Check:
    def check(value: Any, path: str) -> None:
        try:
            for name, field in fields.items():
                field(getattr(value, name), name)
        except AttributeError as error:
            raise _invalid(path, value, "record with its fields") from error
        except InvalidEvent as error:
            raise InvalidEvent(f"{path}.{error}") from error

    return check


def _invalid(path: str, value: Any, wanted: str) -> InvalidEvent:
    """The value itself is not shown: it may be a secret."""
    return InvalidEvent(f"{path}: a value of type {type(value).__name__} is not {wanted}")
