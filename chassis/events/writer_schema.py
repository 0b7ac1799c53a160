"""Parses writer schemas, and refuses those with which a few bytes could hang or crash the process that reads them.

Avro has values of zero bytes, so that five bytes can encode an array of ten million of them, and one byte a record of
a thousand nulls; and fastavro reads recursive records by recursion in C, so that 100 kB cause a segmentation fault
instead of an exception.
"""

import json
from typing import Any

from fastavro import parse_schema

from chassis.errors import PermanentFailure
from schemas import EVENTS
from schemas.files import parsed_schema

VALUES_PER_BYTE = 4
"""An item of an array or map may decode to so many values for each byte that it takes."""


class UnsafeSchema(PermanentFailure):
    """The schema that a message was written with is dangerous or invalid."""


def writer_schema(text: str) -> dict[str, Any]:
    """Returns the schema parsed for fastavro; for our own newest version, always the same object."""
    try:
        schema = parse_schema(json.loads(text, object_hook=_without_logical_type))
    except Exception as error:
        raise UnsafeSchema(f"the writer's schema is not Avro: {type(error).__name__}: {error}") from error
    if not isinstance(schema, dict) or schema["type"] != "record":
        raise UnsafeSchema("the writer's schema is not a record")
    _takes_bytes(schema, set())
    _size(schema, schema["__named_schemas"])
    return next((own for own in map(parsed_schema, EVENTS) if own == schema), schema)


def _without_logical_type(spec: dict[str, Any]) -> dict[str, Any]:
    """Removes logical types: fastavro would return the writer's (a datetime) even if the reader has none."""
    return {attribute: value for attribute, value in spec.items() if attribute != "logicalType"}


def _takes_bytes(schema: Any, unfinished: set[str]) -> bool:
    """Returns True if each value takes at least one byte. Raises UnsafeSchema."""
    match schema:
        case list():
            return all(_takes_bytes(branch, unfinished) or True for branch in schema)
        case {"type": "array", "items": items}:
            return _takes_bytes(items, unfinished) or _refuse("an array of items that take no bytes")
        case {"type": "map", "values": values}:
            return _takes_bytes(values, unfinished) or True
        case {"type": "record" | "error", "name": name, "fields": fields}:
            inside = {*unfinished, name}
            takes = [_takes_bytes(field["type"], inside) for field in fields]
            return any(takes) or _refuse(f"{name} takes no bytes")
        case {"type": "fixed", "name": name, "size": size}:
            return size > 0 or _refuse(f"{name} takes no bytes")
        case {"type": inner}:
            return _takes_bytes(inner, unfinished)
        case _ if schema in unfinished:
            return _refuse(f"{schema} contains itself")
        case _:
            return bool(schema != "null")


def _size(schema: Any, types: dict[str, Any]) -> tuple[int, int]:
    """Returns how many values the smallest value of a schema decodes to, and its bytes. Raises UnsafeSchema."""
    match types.get(schema, schema) if isinstance(schema, str) else schema:
        case "null":
            return 1, 0
        case list() as branches:
            sizes = [_size(branch, types) for branch in branches]
            return max((values for values, _ in sizes), default=1), 1
        case {"type": "array", "items": item} | {"type": "map", "values": item}:
            values, size = _size(item, types)
            is_map = "values" in schema
            if values > VALUES_PER_BYTE * (size + is_map):
                _refuse(f"items of {values} values in {size + is_map} bytes")
            return 1, 1
        case {"type": "record" | "error", "fields": fields}:
            sizes = [_size(field["type"], types) for field in fields]
            return 1 + sum(values for values, _ in sizes), sum(size for _, size in sizes)
        case {"type": "fixed", "size": size}:
            return 1, size
        case {"type": "enum"}:
            return 1, 1
        case {"type": inner}:
            return _size(inner, types)
        case _:
            return 1, 1


def _refuse(reason: str) -> bool:
    raise UnsafeSchema(f"the writer's schema is refused: {reason}")
