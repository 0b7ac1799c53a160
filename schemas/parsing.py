"""Parses an .avsc text as a contract and refuses, by file and field, what the generator does not support."""

import json
import keyword
import re
from collections.abc import Callable, Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from schemas.event import Event
from schemas.model import (
    PRIMITIVES,
    REQUIRED,
    Array,
    Contract,
    ContractError,
    Enum,
    Field,
    Nullable,
    Primitive,
    Record,
    Type,
    parts,
)

NAMESPACE = "fanout"
TOPIC = re.compile(r"[a-z][a-z0-9_]*")
TYPE_NAME = re.compile(r"[A-Z][A-Za-z0-9]*")
FIELD_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
SYMBOL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
IMPORTED = {"Any", "EVENTS", "Event", "Int32", "Int64", "Literal", "Mapping", "Self"}
DEFAULTS: Mapping[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "int": lambda value: _is_integer(value) and -(2**31) <= value < 2**31,
    "long": lambda value: _is_integer(value) and -(2**63) <= value < 2**63,
    "boolean": lambda value: isinstance(value, bool),
    "double": lambda value: (isinstance(value, float) and isfinite(value)) or _is_exact(value),
}
"""By primitive type, whether a value can be its default. JSON has no notation of bytes that is readable."""
TAKEN = {*keyword.kwlist, *IMPORTED, *PRIMITIVES.values(), "tuple", "dict", "classmethod"}


def parse(text: str, version: int, where: str) -> Contract:
    """Returns the contract. `where` is the file's name for error messages. Raises ContractError."""
    spec = load(text, where)
    if not isinstance(spec, dict) or spec.get("type") != "record":
        raise ContractError(f"{where}: an event must be a record")
    return _contract(spec, version, f"{where}: {spec.get('name')}")


def load(text: str, where: str) -> Any:
    """Returns the JSON document. Raises ContractError with line and column, or with the name that appears twice."""
    try:
        document = json.loads(text, object_pairs_hook=_without_repeats, parse_constant=_refuse_constant)
        _require_printable(document)
        return document
    except RecursionError as error:
        raise ContractError(f"{where}: not JSON that can be read: nested too deeply") from error
    except ValueError as error:
        raise ContractError(f"{where}: not JSON: {error}") from error


def read_text(file: Path) -> str:
    """Returns the text of a contract. Raises ContractError if it is no regular file, not UTF-8, or cannot be read."""
    if not file.is_file() or file.is_symlink() or file.parent.is_symlink():
        raise ContractError(f"{file.parent.name}/{file.name}: not a regular file in a folder of its own")
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ContractError(f"{file.parent.name}/{file.name}: cannot be read: {error}") from error


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{', '.join(twice)} appears twice in one object")
    return dict(pairs)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number in JSON")


def _require_printable(document: Any) -> None:
    """Raises ValueError for a text that is not UTF-8 or has control characters: Python could not be generated of it."""
    match document:
        case str():
            if bad := next((letter for letter in document if not letter.isprintable()), None):
                raise ValueError(f"the text {document[:40]!r} has the character {bad!r}")
        case dict():
            for name, value in document.items():
                _require_printable(name)
                _require_printable(value)
        case list():
            for value in document:
                _require_printable(value)


def _contract(spec: dict[str, Any], version: int, where: str) -> Contract:
    _known(spec, "type name namespace doc topic key version revision fields", where)
    if spec.get("revision", 1) != version or type(spec.get("revision", 1)) is not int:
        raise ContractError(
            f'{where}: add "revision": {version}, by which the registry knows it from a version that reads the same'
        )
    if spec.get("namespace") != NAMESPACE:
        raise ContractError(f"{where}: the namespace must be {NAMESPACE}")
    topic, key, version_field = (_text(spec, attribute, where) for attribute in ("topic", "key", "version"))
    if not TOPIC.fullmatch(topic):
        raise ContractError(f"{where}: {topic!r} cannot be a topic")
    record = _record(spec, where)
    for name in (field.name for field in record.fields):
        if name != "occurred_at" and hasattr(Event, name):
            raise ContractError(f"{where}.{name}: {name} is an attribute of every event already")
    _require(record, key, "string", f"{where}: key")
    _require(record, version_field, "int", f"{where}: version")
    _require(record, "occurred_at", "long", f"{where}: event time")
    _unique([record.name, *(part.name for part in parts(record))], where)
    return Contract(record, topic, key, version_field, version)


def _record(spec: dict[str, Any], where: str) -> Record:
    fields = spec.get("fields")
    if not isinstance(fields, list) or not fields:
        raise ContractError(
            f"{where}: a record needs fields: without them, a few bytes could decode to millions of records"
        )
    parsed = tuple(_field(field, where) for field in fields)
    _unique([field.name for field in parsed], where)
    return Record(_name(spec, TYPE_NAME, where), _text(spec, "doc", where), parsed)


def _field(spec: Any, where: str) -> Field:
    if not isinstance(spec, dict):
        raise ContractError(f"{where}: {json.dumps(spec)} is not a field")
    where = f"{where}.{spec.get('name')}"
    _known(spec, "name type default aliases doc", where)
    name, doc, kind = (
        _name(spec, FIELD_NAME, where),
        _text(spec, "doc", where),
        _type(spec.get("type"), where),
    )
    return Field(name, doc, kind, _default(spec, kind, where), _aliases(spec, where))


def _aliases(spec: dict[str, Any], where: str) -> tuple[str, ...]:
    aliases = spec.get("aliases", [])
    if not isinstance(aliases, list):
        raise ContractError(f"{where}: aliases must be a list of earlier names of the field")
    return tuple(_name({"name": alias}, FIELD_NAME, f"{where}: alias") for alias in aliases)


def _default(spec: dict[str, Any], kind: Type, where: str) -> Any:
    default = spec.get("default", REQUIRED)
    match kind:
        case Nullable():
            allowed, what = default is None, "null"
        case Primitive(name) if name in DEFAULTS:
            allowed, what = default is REQUIRED or DEFAULTS[name](default), f"a value of type {name}"
        case Enum(symbols=symbols):
            allowed, what = default is REQUIRED or default in symbols, f"one of {', '.join(symbols)}"
        case Array():
            allowed, what = default is REQUIRED or default == [], "[]"
        case _:
            allowed, what = default is REQUIRED, "none"
    if not allowed:
        raise ContractError(f"{where}: the default must be {what}")
    return default


def _type(spec: Any, where: str) -> Type:
    if isinstance(spec, list):
        return _nullable(spec, where)
    if isinstance(spec, str) and spec in PRIMITIVES:
        return Primitive(spec)
    kind = spec.get("type") if isinstance(spec, dict) else None
    if kind == "array":
        return _array(spec, where)
    if kind == "enum":
        return _enum(spec, where)
    if kind == "record":
        _known(spec, "type name doc fields", where)
        return _record(spec, where)
    raise ContractError(f"{where}: the type {json.dumps(spec)} is not supported")


def _nullable(spec: list[Any], where: str) -> Nullable:
    if len(spec) != 2 or spec[0] != "null" or isinstance(spec[1], list):
        raise ContractError(f'{where}: the only union supported is ["null", T]')
    return Nullable(_type(spec[1], where))


def _array(spec: dict[str, Any], where: str) -> Array:
    _known(spec, "type items", where)
    items = _type(spec.get("items"), f"{where}[]")
    if isinstance(items, Array | Nullable):
        raise ContractError(f"{where}: arrays of arrays or of unions are not supported")
    return Array(items)


def _enum(spec: dict[str, Any], where: str) -> Enum:
    _known(spec, "type name doc symbols", where)
    symbols = spec.get("symbols")
    if not isinstance(symbols, list) or not symbols:
        raise ContractError(f"{where}: an enum needs symbols")
    for symbol in symbols:
        if not isinstance(symbol, str) or not SYMBOL.fullmatch(symbol):
            raise ContractError(f"{where}: {symbol!r} cannot be a symbol")
    _unique(symbols, where)
    return Enum(_name(spec, TYPE_NAME, where), _text(spec, "doc", where), tuple(symbols))


def _is_exact(value: Any) -> bool:
    """Returns True for an integer that a double holds exactly."""
    return _is_integer(value) and abs(value) < 2**53


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _require(record: Record, name: str, kind: str, where: str) -> None:
    field = next((field for field in record.fields if field.name == name), None)
    if field is None or field.type != Primitive(kind):
        raise ContractError(f"{where}: {name!r} is not a field of type {kind}")
    if field.default is not REQUIRED:
        raise ContractError(f"{where}: {name!r} is in every event, so it may have no default")


def _name(spec: dict[str, Any], pattern: re.Pattern[str], where: str) -> str:
    name = _text(spec, "name", where)
    if not pattern.fullmatch(name) or name in TAKEN:
        raise ContractError(f"{where}: {name!r} cannot be a name here")
    return name


def _text(spec: dict[str, Any], attribute: str, where: str) -> str:
    text = spec.get(attribute)
    if not isinstance(text, str) or not text.strip():
        raise ContractError(f"{where}: {attribute} is missing")
    return text


def _known(spec: dict[str, Any], attributes: str, where: str) -> None:
    unknown = sorted(spec.keys() - set(attributes.split()))
    if unknown:
        raise ContractError(f"{where}: unknown attribute {', '.join(unknown)}")


def _unique(names: list[str], where: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ContractError(f"{where}: {', '.join(twice)} appears twice")
