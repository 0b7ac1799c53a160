"""Reads any Avro schema into a tree with resolved names, and refuses what Avro 1.12 does not allow, by path."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
NAMED = ("record", "error", "enum", "fixed")
LOGICAL = {
    "int": ("date", "time-millis"),
    "long": (
        "time-micros",
        *(f"{scope}timestamp-{unit}" for scope in ("", "local-") for unit in ("millis", "micros", "nanos")),
    ),
    "string": ("uuid",),
    "bytes": ("decimal", "big-decimal"),
    "fixed": ("decimal", "uuid", "duration"),
}
ORDERS = ("ascending", "descending", "ignore")
SIZES = {"uuid": 16, "duration": 12}
MAX_DEPTH = 100
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class SchemaError(ValueError):
    """A schema is not valid Avro; the message names the place in it and the error."""


@dataclass(frozen=True, slots=True)
class Primitive:
    kind: str
    logical: str | None = None


@dataclass(frozen=True, slots=True)
class Array:
    items: "Type"


@dataclass(frozen=True, slots=True)
class Map:
    values: "Type"


@dataclass(frozen=True, slots=True)
class Union:
    branches: tuple["Type", ...]


@dataclass(frozen=True, slots=True)
class Named:
    """A type with a full name; `aliases` are full names as well."""

    name: str
    aliases: tuple[str, ...]

    @property
    def short(self) -> str:
        return self.name.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Fixed(Named):
    size: int
    logical: str | None = None


@dataclass(frozen=True, slots=True)
class Enum(Named):
    symbols: tuple[str, ...]
    default: str | None = None


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    aliases: tuple[str, ...]
    type: "Type"
    has_default: bool


@dataclass(frozen=True, slots=True, eq=False)
class Record(Named):
    """A record or an error; `fields` is filled once they are read, since they may contain the record itself."""

    fields: list[Field] = field(default_factory=list)


Type = Primitive | Array | Map | Union | Fixed | Enum | Record
N = TypeVar("N", Fixed, Enum, Record)


def parse_avro(schema: Any) -> Type:
    """Returns the schema, given as JSON text or as what JSON text was read into. Raises SchemaError."""
    try:
        if isinstance(schema, str) and not _is_dotted(schema):
            schema = json.loads(schema)
        return _Reader().read(schema)
    except json.JSONDecodeError as error:
        raise SchemaError(f"the schema is not JSON: {error}") from error
    except RecursionError as error:
        raise SchemaError("the schema is nested too deeply") from error


def describe(kind: Type) -> str:
    """Returns the type in a few words, for messages."""
    match kind:
        case Primitive(name, logical):
            return f"{name} ({logical})" if logical else name
        case Array(items):
            return f"array of {describe(items)}"
        case Map(values):
            return f"map of {describe(values)}"
        case Union(branches):
            return f"[{', '.join(describe(branch) for branch in branches)}]"
        case Fixed(size=size, logical=logical):
            return f"fixed {kind.short} of {size} bytes" + (f" ({logical})" if logical else "")
        case Enum():
            return f"enum {kind.short}"
        case Record():
            return f"record {kind.short}"


class _Reader:
    def __init__(self) -> None:
        self._named: dict[str, Fixed | Enum | Record] = {}
        self._defaults: list[Callable[[], None]] = []

    def read(self, schema: Any) -> Type:
        kind = self._type(schema, "", "", 0)
        for check in self._defaults:
            check()
        return kind

    def _type(self, schema: Any, namespace: str, path: str, depth: int) -> Type:
        if depth > MAX_DEPTH:
            raise _error(path, f"types are nested more than {MAX_DEPTH} deep")
        if isinstance(schema, list):
            return self._union(schema, namespace, path, depth)
        if isinstance(schema, str):
            return self._reference(schema, namespace, path)
        if not isinstance(schema, dict):
            raise _error(path, f"{_short(schema)} is not a type")
        match schema.get("type"):
            case "array":
                return Array(self._inner(schema, "items", namespace, f"{path}[]", depth))
            case "map":
                return Map(self._inner(schema, "values", namespace, f"{path}{{}}", depth))
            case str(kind) if kind in NAMED:
                return self._define(kind, schema, namespace, path, depth)
            case str(kind) if kind in PRIMITIVES:
                return Primitive(kind, _logical(schema, kind))
            case kind:
                raise _error(
                    path, f"{_short(kind)} is not the name of a type" if kind else "the type is missing"
                )

    def _inner(self, schema: dict[str, Any], attribute: str, namespace: str, path: str, depth: int) -> Type:
        if attribute not in schema:
            raise _error(path, f"{schema['type']} without {attribute}")
        return self._type(schema[attribute], namespace, path, depth + 1)

    def _reference(self, name: str, namespace: str, path: str) -> Type:
        if name in PRIMITIVES:
            return Primitive(name)
        found = self._named.get(_full(name, namespace))
        if found is None:
            raise _error(path, f"the type {name!r} is not defined before it is used")
        return found

    def _union(self, branches: list[Any], namespace: str, path: str, depth: int) -> Union:
        if any(isinstance(branch, list) for branch in branches):
            raise _error(path, "a union directly inside a union")
        union = Union(tuple(self._type(branch, namespace, path, depth + 1) for branch in branches))
        if twice := _twice([branch_name(branch) for branch in union.branches]):
            raise _error(path, f"the union has {twice} twice")
        return union

    def _define(self, kind: str, schema: dict[str, Any], namespace: str, path: str, depth: int) -> Type:
        name = _full_name(schema, namespace, path)
        if name in self._named or name in PRIMITIVES:
            raise _error(path, f"the name {name!r} is defined twice")
        path = path or name.rpartition(".")[2]
        inner = name.rpartition(".")[0]
        aliases = tuple(_full(alias, inner) for alias in _names(schema, "aliases", path, dotted=True))
        if kind == "fixed":
            return self._add(_fixed(schema, name, aliases, path))
        if kind == "enum":
            return self._add(_enum(schema, name, aliases, path))
        record = self._add(Record(name, aliases))
        record.fields.extend(self._fields(schema, inner, path, depth))
        return record

    def _add(self, kind: N) -> N:
        self._named[kind.name] = kind
        return kind

    def _fields(self, schema: dict[str, Any], namespace: str, path: str, depth: int) -> list[Field]:
        specs = schema.get("fields")
        if not isinstance(specs, list):
            raise _error(path, "a record without a list of fields")
        fields = [self._field(spec, namespace, path, depth) for spec in specs]
        if twice := _twice([name for field in fields for name in (field.name, *field.aliases)]):
            raise _error(path, f"{twice} is the name or alias of a field twice")
        return fields

    def _field(self, spec: Any, namespace: str, path: str, depth: int) -> Field:
        if not isinstance(spec, dict) or not _is_name(spec.get("name")):
            raise _error(path, f"{_short(spec)} is not a field with a name")
        path = f"{path}.{spec['name']}"
        if "type" not in spec:
            raise _error(path, "the type is missing")
        if spec.get("order", "ignore") not in ORDERS:
            raise _error(path, f"the order {_short(spec['order'])} is none of {', '.join(ORDERS)}")
        kind = self._type(spec["type"], namespace, path, depth + 1)
        if "default" in spec:
            self._defaults.append(lambda: _check_default(kind, spec["default"], path))
        return Field(spec["name"], tuple(_names(spec, "aliases", path)), kind, "default" in spec)


def _fixed(schema: dict[str, Any], name: str, aliases: tuple[str, ...], path: str) -> Fixed:
    size = schema.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise _error(path, f"a fixed needs a size in bytes, not {_short(size)}")
    return Fixed(name, aliases, size, _logical(schema, "fixed"))


def _enum(schema: dict[str, Any], name: str, aliases: tuple[str, ...], path: str) -> Enum:
    if not isinstance(schema.get("symbols"), list):
        raise _error(path, "an enum without a list of symbols")
    symbols = _names(schema, "symbols", path)
    if twice := _twice(symbols):
        raise _error(path, f"the symbol {twice} appears twice")
    default = schema.get("default")
    if default is not None and default not in symbols:
        raise _error(path, f"the default {_short(default)} is not a symbol of the enum")
    return Enum(name, aliases, tuple(symbols), default)


def _logical(schema: dict[str, Any], kind: str) -> str | None:
    """Returns the logical type with its parameters. Avro ignores one that is unknown or does not fit its type."""
    logical = schema.get("logicalType")
    if logical not in LOGICAL.get(kind, ()):
        return None
    if logical != "decimal":
        fits = kind != "fixed" or schema.get("size") == SIZES[str(logical)]
        return str(logical) if fits else None
    precision, scale = schema.get("precision"), schema.get("scale", 0)
    if type(precision) is not int or type(scale) is not int or not 0 <= scale <= precision or not precision:
        return None
    if kind == "fixed" and precision > len(str(2 ** max(8 * schema["size"] - 1, 0) - 1)) - 1:
        return None
    return f"decimal({precision}, {scale})"


def _check_default(kind: Type, value: Any, path: str) -> None:
    if not _fits(kind, value):
        raise _error(path, f"the default {_short(value)} is not a value of {describe(kind)}")


def _fits(kind: Type, value: Any) -> bool:
    match kind:
        case Primitive(name):
            return _fits_primitive(name, value)
        case Fixed(size=size):
            return _fits_primitive("bytes", value) and len(value) == size
        case Enum(symbols=symbols):
            return value in symbols
        case Array(items):
            return isinstance(value, list) and all(_fits(items, item) for item in value)
        case Map(values):
            return isinstance(value, dict) and all(_fits(values, item) for item in value.values())
        case Union(branches):
            return any(_fits(branch, value) for branch in branches)
        case Record(fields=fields):
            return isinstance(value, dict) and all(
                _fits(field.type, value[field.name]) if field.name in value else field.has_default
                for field in fields
            )


def _fits_primitive(name: str, value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match name:
        case "null":
            return value is None
        case "boolean":
            return isinstance(value, bool)
        case "int" | "long":
            bits = 31 if name == "int" else 63
            return number and isinstance(value, int) and -(2**bits) <= value < 2**bits
        case "float" | "double":
            return number
        case "bytes":
            return isinstance(value, str) and all(ord(character) < 256 for character in value)
        case _:
            return isinstance(value, str)


def _full_name(schema: dict[str, Any], namespace: str, path: str) -> str:
    name, own = schema.get("name"), schema.get("namespace", namespace)
    if not isinstance(name, str) or not _is_dotted(name):
        raise _error(path, f"{_short(name)} is not a name" if name else f"{schema['type']} without a name")
    if own is None or (own != "" and not _is_dotted(own)):
        raise _error(path, f"{_short(own)} is not a namespace")
    return _full(name, own)


def _full(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"


def _names(schema: dict[str, Any], attribute: str, path: str, dotted: bool = False) -> list[str]:
    names = schema.get(attribute, [])
    if not isinstance(names, list):
        raise _error(path, f"{attribute} is not a list")
    for name in names:
        if not (_is_dotted(name) if dotted else _is_name(name)):
            raise _error(path, f"{_short(name)} cannot be one of its {attribute}")
    return names


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and NAME.fullmatch(name) is not None


def _is_dotted(name: Any) -> bool:
    return isinstance(name, str) and all(NAME.fullmatch(part) for part in name.split("."))


def branch_name(kind: Type) -> str:
    match kind:
        case Primitive(name):
            return name
        case Array():
            return "array"
        case Map():
            return "map"
        case Union():
            return "union"
        case _:
            return kind.name


def _twice(names: list[Any]) -> str | None:
    return next((str(name) for index, name in enumerate(names) if name in names[:index]), None)


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _error(path: str, problem: str) -> SchemaError:
    return SchemaError(f"{path or 'the schema'}: {problem}")
