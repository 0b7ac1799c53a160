"""Compiles what converts records of a writer's Avro schema to the reader's, once for each pair of schemas.

fastavro resolves the schemas again for every record, which costs more than reading it. What a contract may contain is
covered: records, field aliases and defaults, arrays, nullable types, enums with a default, and wider numbers. For pairs
with anything else (maps, fixed, other unions, logical types, strings read as bytes) `projection` returns None, and
fastavro resolves each record.
"""

from collections.abc import Callable, Collection, Mapping
from operator import itemgetter
from typing import Any

from chassis.errors import PermanentFailure

Schema = Any
"""A schema parsed by fastavro: the name of a type, a union as a list, or a dict."""
Convert = Callable[[Any], Any]

PLAIN = ("boolean", "int", "long", "float", "double", "string", "bytes")
WIDER: Mapping[tuple[str, str], Convert]
NOT_COVERED = ("null", "map", "fixed", "error")
STRINGS_AND_BYTES = (("string", "bytes"), ("bytes", "string"))


class Unresolvable(PermanentFailure):
    """The writer's schema, or this value of it, cannot be read with the reader's."""


class _NotCovered(Exception):
    """The schemas have a part that only fastavro can resolve."""


def projection(writer: dict[str, Any], reader: dict[str, Any]) -> Convert | None:
    """Returns what converts a decoded record, or None if fastavro has to resolve the schemas. Raises Unresolvable.

    The function it returns raises Unresolvable for an enum symbol or a null that the reader's schema does not have.
    """
    try:
        return _Pair(writer, reader).resolve(writer, reader, reader["name"].rpartition(".")[2])
    except _NotCovered:
        return None


def _same(value: Any) -> Any:
    return value


WIDER = {
    ("int", "long"): _same,
    ("int", "float"): float,
    ("int", "double"): float,
    ("long", "float"): float,
    ("long", "double"): float,
    ("float", "double"): _same,
}


class _Pair:
    """Two schemas with the types that they name. `where` is a field's path, for error messages."""

    def __init__(self, writer: dict[str, Any], reader: dict[str, Any]) -> None:
        self._writer_types: Mapping[str, Schema] = writer["__named_schemas"]
        self._reader_types: Mapping[str, Schema] = reader["__named_schemas"]

    def resolve(self, writer: Schema, reader: Schema, where: str) -> Convert:
        writer, reader = _unwrapped(writer, self._writer_types), _unwrapped(reader, self._reader_types)
        if isinstance(writer, list) or isinstance(reader, list):
            return self._nullable(writer, reader, where)
        kinds = _kind(writer), _kind(reader)
        if any(kind in NOT_COVERED for kind in kinds) or kinds in STRINGS_AND_BYTES:
            raise _NotCovered
        if kinds[0] == kinds[1] and kinds[0] in PLAIN:
            return _same
        if kinds in WIDER:
            return WIDER[kinds]
        match kinds:
            case "array", "array":
                return _each(self.resolve(writer["items"], reader["items"], f"{where}[]"))
            case "enum", "enum":
                _require_same_name(writer, reader, where)
                return _enum(writer, reader, where)
            case "record", "record":
                _require_same_name(writer, reader, where)
                return self._record(writer, reader, where)
        raise Unresolvable(f"{where}: {kinds[0]} cannot be read as {kinds[1]}")

    def _nullable(self, writer: Schema, reader: Schema, where: str) -> Convert:
        written, wanted = _of_nullable(writer), _of_nullable(reader)
        convert = self.resolve(written, wanted, where)
        if not isinstance(writer, list) or (isinstance(reader, list) and convert is _same):
            return convert

        def or_null(value: Any) -> Any:
            return None if value is None else convert(value)

        def never_null(value: Any) -> Any:
            if value is None:
                raise Unresolvable(f"{where} is null, which the reader's schema does not allow")
            return convert(value)

        return or_null if isinstance(reader, list) else never_null

    def _record(self, writer: Schema, reader: Schema, where: str) -> Convert:
        written = {field["name"]: field["type"] for field in writer["fields"]}
        renamed = written.keys() - {field["name"] for field in reader["fields"]}
        defaults: dict[str, Any] = {}
        unchanged: dict[str, str] = {}
        converted: list[tuple[str, str, Convert]] = []
        for field in reader["fields"]:
            name, path = field["name"], f"{where}.{field['name']}"
            source = name if name in written else _alias(field, renamed)
            if source is None:
                if "default" not in field:
                    raise Unresolvable(f"{path} has no default, and the writer does not have the field")
                defaults[name] = self._default(field["type"], field["default"], path)
                continue
            renamed.discard(source)
            convert = self.resolve(written[source], field["type"], path)
            if convert is _same:
                unchanged[name] = source
            else:
                converted.append((name, source, convert))

        names, values = tuple(unchanged), _getter(unchanged.values())

        def project(record: Mapping[str, Any]) -> dict[str, Any]:
            projected = dict(zip(names, values(record), strict=True))
            projected.update(defaults)
            for name, source, convert in converted:
                projected[name] = convert(record[source])
            return projected

        return project

    def _default(self, schema: Schema, value: Any, where: str) -> Any:
        """Returns a field's default, which the schema has as JSON, as the value that fastavro would have read."""
        schema = _unwrapped(schema, self._reader_types)
        if isinstance(schema, list):
            return (
                None
                if value is None and "null" in schema
                else self._default(_of_nullable(schema), value, where)
            )
        match _kind(schema), value:
            case ("boolean", bool()) | ("string", str()):
                return value
            case ("int" | "long", int()) if not isinstance(value, bool):
                return value
            case ("float" | "double", int() | float()) if not isinstance(value, bool):
                return float(value)
            case "bytes", str():
                return value.encode("latin-1")
            case "enum", str() if value in schema["symbols"]:
                return value
            case "array", list():
                return [self._default(schema["items"], item, f"{where}[]") for item in value]
            case "record", dict():
                return {field["name"]: self._of_field(field, value, where) for field in schema["fields"]}
            case kind, _ if kind in NOT_COVERED:
                raise _NotCovered
        raise Unresolvable(f"{where}: the default {value!r} is not of the field's type")

    def _of_field(self, field: Mapping[str, Any], record: Mapping[str, Any], where: str) -> Any:
        name, path = field["name"], f"{where}.{field['name']}"
        if name not in record and "default" not in field:
            raise Unresolvable(f"{path} is missing in a default")
        return self._default(field["type"], record[name] if name in record else field["default"], path)


def _enum(writer: Schema, reader: Schema, where: str) -> Convert:
    known, default = set(reader["symbols"]), reader.get("default")
    if known.issuperset(writer["symbols"]):
        return _same

    def symbol(value: str) -> str:
        if value in known:
            return value
        if default is None:
            raise Unresolvable(f"{where}: the reader's schema has no symbol {value}, and no default")
        return str(default)

    return symbol


def _getter(names: Collection[str]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    """Returns what reads these fields of a record, all at once."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda record: tuple(record[name] for name in names)


def _each(convert: Convert) -> Convert:
    return _same if convert is _same else lambda items: [convert(item) for item in items]


def _alias(field: Mapping[str, Any], renamed: set[str]) -> str | None:
    """Returns the field of the writer that has an alias of this one as its name, and is no other field's."""
    return next((alias for alias in field.get("aliases", ()) if alias in renamed), None)


def _unwrapped(schema: Schema, types: Mapping[str, Schema]) -> Schema:
    """Returns a type that is named elsewhere, or written as `{"type": …}`, itself."""
    if isinstance(schema, str):
        return types.get(schema, schema)
    if isinstance(schema, dict):
        if "logicalType" in schema:
            raise _NotCovered
        if not isinstance(schema["type"], str) or schema["type"] in PLAIN:
            return _unwrapped(schema["type"], types)
    return schema


def _kind(schema: Schema) -> str:
    return schema if isinstance(schema, str) else str(schema["type"])


def _of_nullable(schema: Schema) -> Schema:
    """Returns the type beside null; a type that is no union, itself."""
    if not isinstance(schema, list):
        return schema
    types = [branch for branch in schema if branch != "null"]
    if len(types) != 1 or len(schema) != 2:
        raise _NotCovered
    return types[0]


def _require_same_name(writer: Schema, reader: Schema, where: str) -> None:
    """Raises Unresolvable unless the writer's name, without its namespace, is the reader's or one of its aliases."""
    names = {reader["name"], *reader.get("aliases", ())}
    if writer["name"].rpartition(".")[2] not in {name.rpartition(".")[2] for name in names}:
        raise Unresolvable(f"{where}: {writer['name']} cannot be read as {reader['name']}")
