"""Parses an .avsc text as a contract and refuses, by file and field, what the generator does not support."""

import json
import keyword
import re
from typing import Any

from schemas.event import Event
from schemas.model import (
    PRIMITIVES,
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
IMPORTED = {"Any", "Event", "Int32", "Int64", "Literal", "Mapping", "Self"}
TAKEN = {*keyword.kwlist, *IMPORTED, *PRIMITIVES.values(), "tuple", "dict", "classmethod"}


def parse(text: str, version: int, where: str) -> Contract:
    """Returns the contract. `where` is the file's name for error messages. Raises ContractError."""
    try:
        spec = json.loads(text)
    except json.JSONDecodeError as error:
        raise ContractError(f"{where}: not JSON: {error}") from error
    if not isinstance(spec, dict) or spec.get("type") != "record":
        raise ContractError(f"{where}: an event must be a record")
    return _contract(spec, version, f"{where}: {spec.get('name')}")


def _contract(spec: dict[str, Any], version: int, where: str) -> Contract:
    _known(spec, "type name namespace doc topic key version fields", where)
    if spec.get("namespace") != NAMESPACE:
        raise ContractError(f"{where}: the namespace must be {NAMESPACE}")
    topic, key, version_field = (_text(spec, attribute, where) for attribute in ("topic", "key", "version"))
    if not TOPIC.fullmatch(topic):
        raise ContractError(f"{where}: {topic!r} cannot be a topic")
    record = _record(spec, where)
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
    _known(spec, "name type default doc", where)
    name, doc, kind = (
        _name(spec, FIELD_NAME, where),
        _text(spec, "doc", where),
        _type(spec.get("type"), where),
    )
    if name != "occurred_at" and hasattr(Event, name):
        raise ContractError(f"{where}: {name} is an attribute of every event already")
    if isinstance(kind, Nullable) != ("default" in spec) or spec.get("default") is not None:
        raise ContractError(f'{where}: ["null", T] needs the default null; other types may have no default')
    return Field(name, doc, kind)


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


def _require(record: Record, name: str, kind: str, where: str) -> None:
    if not any(field.name == name and field.type == Primitive(kind) for field in record.fields):
        raise ContractError(f"{where}: {name!r} is not a field of type {kind}")


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
