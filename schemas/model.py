"""The types of Avro that a contract may use, and the contract made of them."""

from dataclasses import dataclass
from typing import Any

PRIMITIVES = {
    "string": "str",
    "int": "int",
    "long": "int",
    "boolean": "bool",
    "double": "float",
    "bytes": "bytes",
}


REQUIRED: Any = object()
"""The default of a field that has none."""


class ContractError(Exception):
    """A .avsc file is not a valid contract; the message names the file, the field and the error."""


@dataclass(frozen=True, slots=True)
class Primitive:
    name: str


@dataclass(frozen=True, slots=True)
class Enum:
    name: str
    doc: str
    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Array:
    items: "Type"


@dataclass(frozen=True, slots=True)
class Nullable:
    type: "Type"


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    doc: str
    type: "Type"
    default: Any = REQUIRED
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    name: str
    doc: str
    fields: tuple[Field, ...]


Type = Primitive | Enum | Array | Nullable | Record


@dataclass(frozen=True, slots=True)
class Contract:
    """One version of one event."""

    record: Record
    topic: str
    key: str
    version_field: str
    version: int


def parts(kind: Type) -> list[Enum | Record]:
    """Returns the enums and records inside a type, innermost first."""
    match kind:
        case Record(fields=fields):
            return [part for field in fields for part in named(field.type)]
        case Array(inner) | Nullable(inner):
            return named(inner)
        case _:
            return []


def named(kind: Type) -> list[Enum | Record]:
    """Returns the enums and records inside a type, and itself last if it is one."""
    return [*parts(kind), kind] if isinstance(kind, Enum | Record) else parts(kind)
