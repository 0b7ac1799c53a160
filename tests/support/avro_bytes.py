"""Writes values that cover a schema as Avro bytes: every symbol, every branch, filled and empty arrays and maps.

A writer of its own, since those of the libraries choose the branch of a union by the value.
"""

import json
import struct
from itertools import cycle, islice
from typing import Any

from schemas.avro_types import Array, Enum, Fixed, Map, Primitive, Record, Type, Union, parse_avro

VALUES: dict[str, tuple[Any, ...]] = {
    "int": (0, -1, 2**31 - 1),
    "long": (5, -(2**63), 2**53 + 1),
    "string": ("", "text", "\u00e9"),
    "bytes": (b"", b"\xff\x00"),
}
LOGICAL_VALUES: dict[str, tuple[Any, ...]] = {
    "date": (0, 20_000),
    "time-millis": (0, 86_399_999),
    "timestamp-millis": (0, 1_700_000_000_000),
    "timestamp-micros": (0, 1_700_000_000_000_000),
    "uuid": ("7f9b2f0c-5e0f-4c5c-9d3a-0c1f5e8a6b11",),
    "decimal": (b"\x00", b"\x04\xd2"),
}
MAX_RECURSION = 2


def covering(schema: Any) -> list[bytes]:
    """Returns the encodings of values of a schema, which together contain everything that it allows.

    Aliases are left out: they say nothing about what is written, and some are refused.
    """
    return _values(parse_avro(json.loads(json.dumps(schema), object_hook=_without_aliases)), ())


def _without_aliases(part: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in part.items() if name != "aliases"}


def _values(kind: Type, inside: tuple[str, ...]) -> list[bytes]:
    """A record that would recur too often has no values, and neither has what requires one."""
    match kind:
        case Primitive(name, logical):
            return _primitives(name, logical)
        case Fixed(size=size):
            return [b"\x01".rjust(size, b"\x00")] if size else [b""]
        case Enum(symbols=symbols):
            return [_long(index) for index in range(len(symbols))]
        case Array(items):
            return _blocks(_values(items, inside))
        case Map(values):
            inner = _values(values, inside)
            return _blocks([_string(f"key{index}") + value for index, value in enumerate(inner)])
        case Union(branches):
            return [
                _long(index) + value for index, one in enumerate(branches) for value in _values(one, inside)
            ]
        case Record(name=name):
            return [] if inside.count(name) > MAX_RECURSION else _records(kind, (*inside, name))


def _records(record: Record, inside: tuple[str, ...]) -> list[bytes]:
    columns = [_values(field.type, inside) for field in record.fields]
    if not all(columns):
        return []
    longest = max(map(len, columns), default=1)
    rows = zip(*(islice(cycle(column), longest) for column in columns), strict=True)
    return [b"".join(row) for row in rows] or [b""]


def _blocks(items: list[bytes]) -> list[bytes]:
    filled = [_long(len(items)) + b"".join(items) + _long(0)] if items else []
    return [*filled, _long(0)]


def _primitives(name: str, logical: str | None) -> list[bytes]:
    values = LOGICAL_VALUES[logical.partition("(")[0]] if logical else VALUES.get(name, ())
    match name:
        case "null":
            return [b""]
        case "boolean":
            return [b"\x00", b"\x01"]
        case "int" | "long":
            return [_long(value) for value in values]
        case "float":
            return [struct.pack("<f", 1.5)]
        case "double":
            return [struct.pack("<d", 1e300)]
        case "string":
            return [_string(value) for value in values]
        case _:
            return [_long(len(value)) + value for value in values]


def _string(text: str) -> bytes:
    return _long(len(text.encode())) + text.encode()


def _long(value: int) -> bytes:
    """Returns the zigzag form in groups of seven bits, the lowest first."""
    rest = (value << 1) ^ (value >> 63)
    groups = bytearray()
    while rest > 0x7F:
        groups.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*groups, rest])
