"""Renders contracts as the text of Python modules, to be formatted by `ruff format`."""

import textwrap
from collections.abc import Iterator, Mapping

from schemas.model import (
    PRIMITIVES,
    REQUIRED,
    Array,
    Contract,
    Enum,
    Field,
    Nullable,
    Primitive,
    Record,
    Type,
    parts,
)

DOC_WIDTH = 100
NUMBERS = {"int": "Int32", "long": "Int64"}
"""Types of schemas/numbers.py; the function of the same name in lower case checks a value that is written or read."""
FROZEN = "@dataclass(frozen=True, kw_only=True, slots=True)"


def package(contracts: Mapping[str, Contract], owners: Mapping[str, str]) -> str:
    """Returns the module that re-exports all types. `owners` maps nested types to the modules that define them."""
    events = {contract.record.name: module_name(folder) for folder, contract in contracts.items()}
    origins = {"Event": "schemas.event", **events, **owners}
    lines = [
        _title("Every event as a Python type", "the .avsc files"),
        "",
        *_imports(origins),
        "",
        f"EVENTS: tuple[type[Event], ...] = ({', '.join(events)},)",
        "",
        f"__all__ = {['EVENTS', *sorted(origins)]}",
    ]
    return "\n".join(lines)


def module(contract: Contract, owners: Mapping[str, str]) -> str:
    """Returns the module with the event's class and with the nested types that it owns."""
    nested = parts(contract.record)
    own_module = module_name(folder_of(contract.record.name))
    here = [part for part in nested if owners[part.name] == own_module]
    lines = [
        _title(f"The contract of {contract.record.name}", f"v{contract.version}.avsc"),
        "",
        *_library_imports(here),
        "",
        *_own_imports(contract, {part.name: owners[part.name] for part in nested if part not in here}, here),
        "",
        *(line for part in here for line in _definition(part)),
        *_class(contract.record, contract),
    ]
    return "\n".join(lines)


def folder_of(event: str) -> str:
    """Returns the folder of an event: order_placed for OrderPlaced."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in event).removeprefix("_")


def module_name(folder: str) -> str:
    return f"schemas.{folder}"


def _title(what: str, source: str) -> str:
    return f'"""{what}, generated from {source} by `make schemas`. Do not edit."""'


def _library_imports(here: list[Enum | Record]) -> Iterator[str]:
    literal = "Literal, " if any(isinstance(part, Enum) for part in here) else ""
    yield "from collections.abc import Mapping"
    yield "from dataclasses import dataclass"
    yield f"from typing import Any, {literal}Self"


def _own_imports(contract: Contract, elsewhere: dict[str, str], here: list[Enum | Record]) -> list[str]:
    records = [contract.record, *(part for part in here if isinstance(part, Record))]
    used = {name for record in records for field in record.fields for name in _primitives(field.type)}
    types = [NUMBERS[name] for name in sorted(used & NUMBERS.keys())]
    numbers = dict.fromkeys([*types, *map(str.lower, types)], "schemas.numbers")
    return _imports({"Event": "schemas.event", **elsewhere, **numbers})


def _imports(origins: Mapping[str, str]) -> list[str]:
    names: dict[str, list[str]] = {}
    for name, origin in origins.items():
        names.setdefault(origin, []).append(name)
    return [f"from {origin} import {', '.join(sorted(group))}" for origin, group in sorted(names.items())]


def _primitives(kind: Type) -> list[str]:
    match kind:
        case Primitive(name):
            return [name]
        case Array(inner) | Nullable(inner):
            return _primitives(inner)
        case _:
            return []


def _definition(part: Enum | Record) -> Iterator[str]:
    if isinstance(part, Record):
        yield from _class(part)
        return
    symbols = ", ".join(f'"{symbol}"' for symbol in part.symbols)
    yield f"{part.name} = Literal[{symbols}]"
    yield from _docstring(part.doc, "")
    yield ""


def _class(record: Record, contract: Contract | None = None) -> Iterator[str]:
    yield FROZEN
    yield f"class {record.name}{'(Event)' if contract else ''}:"
    yield from _docstring(record.doc)
    yield ""
    yield from _constants(contract) if contract else ()
    for field in record.fields:
        yield f"    {field.name}: {_annotation(field.type)}{_default(field)}"
        yield from _docstring(field.doc)
    yield ""
    yield "    def to_record(self) -> dict[str, Any]:"
    yield f"        return {{{''.join(map(_to_item, record.fields))}}}"
    yield ""
    yield "    @classmethod"
    yield "    def from_record(cls, record: Mapping[str, Any]) -> Self:"
    yield f"        return cls({''.join(map(_from_item, record.fields))})"
    yield ""


def _constants(contract: Contract) -> Iterator[str]:
    yield f'    NAME = "{contract.record.name}"'
    yield f'    TOPIC = "{contract.topic}"'
    yield f'    KEY = "{contract.key}"'
    yield f'    VERSION_FIELD = "{contract.version_field}"'
    yield f"    SCHEMA_VERSION = {contract.version}"
    yield ""


def _default(field: Field) -> str:
    if field.default is REQUIRED:
        return ""
    return " = ()" if field.default == [] else f" = {field.default!r}"


def _annotation(kind: Type) -> str:
    match kind:
        case Primitive(name):
            return NUMBERS.get(name, PRIMITIVES[name])
        case Array(items):
            return f"tuple[{_annotation(items)}, ...]"
        case Nullable(inner):
            return f"{_annotation(inner)} | None"
        case Enum() | Record():
            return kind.name


def _to_item(field: Field) -> str:
    return f'"{field.name}": {_to(field.type, f"self.{field.name}")},'


def _to(kind: Type, value: str) -> str:
    match kind:
        case Primitive(name) if name in NUMBERS:
            return f"{NUMBERS[name].lower()}({value})"
        case Record():
            return f"{value}.to_record()"
        case Array(items):
            item = _to(items, "item")
            return f"list({value})" if item == "item" else f"[{item} for item in {value}]"
        case Nullable(inner):
            return _unless_none(value, _to(inner, value))
        case _:
            return value


def _from_item(field: Field) -> str:
    value = f'record["{field.name}"]'
    return f"{field.name}={_from(field.type, value)},"


def _from(kind: Type, value: str) -> str:
    match kind:
        case Primitive(name) if name in NUMBERS:
            return f"{NUMBERS[name].lower()}({value})"
        case Record(name):
            return f"{name}.from_record({value})"
        case Array(items):
            item = _from(items, "item")
            return f"tuple({value})" if item == "item" else f"tuple([{item} for item in {value}])"
        case Nullable(inner):
            return _unless_none(value, _from(inner, value))
        case _:
            return value


def _unless_none(value: str, converted: str) -> str:
    return value if converted == value else f"None if {value} is None else {converted}"


def _docstring(text: str, indent: str = "    ") -> list[str]:
    lines = textwrap.wrap(text.replace("\\", "\\\\").replace('"', "'"), DOC_WIDTH)
    return textwrap.indent('"""' + "\n".join(lines) + '"""', indent).splitlines()
