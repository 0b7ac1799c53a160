"""A record read with its writer's schema and projected is what fastavro's own resolution of the two schemas gives."""

import json
from collections.abc import Iterator
from io import BytesIO
from itertools import count
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from fastavro.read import SchemaResolutionError
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.events.avro import Undecodable, decode, frame
from chassis.events.projection import Unresolvable, projection
from schemas import EVENTS, Event, OrderPlaced
from schemas.files import parsed_schema, versions_of
from schemas.parsing import parse
from tests.support.known_schemas import Known
from tests.support.random_events import PRIMITIVES, any_value

KINDS = [*PRIMITIVES, "float"]
WIDER = [("int", "long"), ("int", "float"), ("int", "double"), ("long", "float"), ("long", "double")]
MISFITS = [("string", "int"), ("double", "long"), ("long", "int"), ("boolean", "string"), ("int", "boolean")]
VALUES = PRIMITIVES | {"float": st.floats(width=32, allow_nan=False)}
DEFAULTS: dict[str, Any] = {"string": "d", "int": 3, "long": 4, "boolean": True, "double": 1.5, "float": 2.5}


class Pairs:
    """Draws a writer's and a reader's schema in the contracts' language, one an evolution of the other."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self._numbers = count(1)

    def record(self, depth: int) -> tuple[dict[str, Any], dict[str, Any]]:
        name = f"R{next(self._numbers)}"
        written, read = zip(*(self._field(depth) for _ in range(self._draw(st.integers(1, 4)))), strict=True)
        always = {"name": "always", "type": "int"}
        writer = {"type": "record", "name": name, "fields": [always, *filter(None, written)]}
        reader = {"type": "record", "name": name, "fields": [*filter(None, read), always]}
        return writer, reader

    def _field(self, depth: int) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        name = f"f{next(self._numbers)}"
        writer, reader = self._types(depth)
        match self._draw(
            st.sampled_from(["both", "both", "both", "renamed", "dropped", "added", "required"])
        ):
            case "dropped":
                return {"name": name, "type": writer}, None
            case "added" if (default := default_of(reader)) is not NO_DEFAULT:
                return None, {"name": name, "type": reader, "default": default}
            case "required":
                return None, {"name": name, "type": reader}
            case "renamed":
                new = {"name": f"new_{name}", "type": reader, "aliases": ["unused", name]}
                return {"name": name, "type": writer}, new
            case _:
                return {"name": name, "type": writer}, {"name": name, "type": reader}

    def _types(self, depth: int) -> tuple[Any, Any]:
        kinds = ["same", "same", "wider", "mismatch", "enum", "nullable", "looser", "stricter"]
        match self._draw(st.sampled_from(kinds if depth == 0 else [*kinds, "array", "record", "records"])):
            case "same":
                kind = self._draw(st.sampled_from(KINDS))
                return kind, kind
            case "wider":
                return self._draw(st.sampled_from(WIDER))
            case "mismatch":
                return self._draw(st.sampled_from(MISFITS))
            case "enum":
                return self._enums()
            case "record":
                return self.record(depth - 1)
            case "records":
                writer, reader = self.record(depth - 1)
                return {"type": "array", "items": writer}, {"type": "array", "items": reader}
            case "array":
                writer, reader = self._plain()
                return {"type": "array", "items": writer}, {"type": "array", "items": reader}
            case how:
                writer, reader = self._plain() if depth == 0 else self.record(depth - 1)
                nullable = ["null", reader] if self._draw(st.booleans()) else [reader, "null"]
                return (
                    writer if how == "looser" else ["null", writer],
                    reader if how == "stricter" else nullable,
                )

    def _plain(self) -> tuple[Any, Any]:
        return self._draw(st.sampled_from([*[(kind, kind) for kind in KINDS], *WIDER, *MISFITS]))

    def _enums(self) -> tuple[Any, Any]:
        symbols = st.lists(st.sampled_from("ABCDE"), min_size=1, unique=True)
        name = f"E{next(self._numbers)}"
        writer = {"type": "enum", "name": name, "symbols": self._draw(symbols)}
        reader = {"type": "enum", "name": name, "symbols": self._draw(symbols)}
        if self._draw(st.booleans()):
            reader["default"] = reader["symbols"][0]
        return writer, reader


NO_DEFAULT = object()


def default_of(schema: Any) -> Any:
    """Returns a default as JSON; fastavro does not decode one of type bytes."""
    match schema:
        case str():
            return DEFAULTS.get(schema, NO_DEFAULT)
        case ["null", _]:
            return None
        case [inner, "null"]:
            return default_of(inner)
        case {"type": "array"}:
            return []
        case {"type": "enum", "symbols": symbols}:
            return symbols[-1]
        case {"fields": fields}:
            inside = {field["name"]: default_of(field["type"]) for field in fields}
            return NO_DEFAULT if NO_DEFAULT in inside.values() else inside
    raise AssertionError(schema)


def values(schema: Any) -> st.SearchStrategy[Any]:
    match schema:
        case str():
            return VALUES[schema]
        case ["null", inner]:
            return st.none() | values(inner)
        case {"type": "array", "items": items}:
            return st.lists(values(items), max_size=3)
        case {"type": "enum", "symbols": symbols}:
            return st.sampled_from(symbols)
        case {"fields": fields}:
            return st.fixed_dictionaries({field["name"]: values(field["type"]) for field in fields})
    raise AssertionError(schema)


def full(schema: Any) -> Iterator[Any]:
    """Yields values without nulls and without empty arrays, so that every part of the schema is resolved."""
    examples = {"string": "s", "bytes": b"b", "boolean": True, "double": 0.5, "float": 0.5}
    match schema:
        case str():
            yield examples.get(schema, 1)
        case ["null", inner]:
            yield from full(inner)
        case {"type": "array", "items": items}:
            yield [next(full(items))]
        case {"type": "enum", "symbols": symbols}:
            yield from symbols
        case {"fields": fields}:
            yield {field["name"]: next(full(field["type"])) for field in fields}


@st.composite
def evolutions(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any], Any]:
    writer, reader = Pairs(draw).record(2)
    return writer, reader, draw(values(writer))


def parsed(schema: Any) -> dict[str, Any]:
    found = parse_schema(json.loads(json.dumps(schema)))
    assert isinstance(found, dict)
    return found


def written(value: Any, schema: dict[str, Any]) -> bytes:
    buffer = BytesIO()
    schemaless_writer(buffer, schema, value)
    return buffer.getvalue()


REFUSED = object()


def resolved_by_fastavro(value: bytes, writer: dict[str, Any], reader: dict[str, Any]) -> Any:
    try:
        return schemaless_reader(BytesIO(value), writer, reader)
    except SchemaResolutionError:
        return REFUSED


def projected(value: bytes, writer: dict[str, Any], reader: dict[str, Any]) -> Any:
    project = projection(writer, reader)
    assert project is not None, "the contracts' language is covered"
    try:
        return project(schemaless_reader(BytesIO(value), writer, None))
    except Unresolvable:
        return REFUSED


@settings(max_examples=400)
@given(evolution=evolutions())
def test_a_projection_gives_what_fastavro_resolves_or_both_refuse(evolution: tuple[Any, Any, Any]) -> None:
    writer, reader, value = parsed(evolution[0]), parsed(evolution[1]), evolution[2]
    payload = written(value, writer)
    try:
        found = projected(payload, writer, reader)
    except Unresolvable:
        whole = written(next(full(evolution[0])), writer)
        assert resolved_by_fastavro(whole, writer, reader) is REFUSED, "refused without a reason"
    else:
        assert found == resolved_by_fastavro(payload, writer, reader)
        assert found is REFUSED or list(types_in(found)) == list(
            types_in(resolved_by_fastavro(payload, writer, reader))
        )


def types_in(value: Any) -> Iterator[type]:
    """Yields the types of all values, as 1 equals 1.0 and True."""
    match value:
        case dict():
            for name in sorted(value):
                yield from types_in(value[name])
        case list():
            for item in value:
                yield from types_in(item)
        case _:
            yield type(value)


def field(**attributes: Any) -> dict[str, Any]:
    fields = (
        [{"name": "always", "type": "int"}, attributes] if attributes else [{"name": "always", "type": "int"}]
    )
    return parsed({"type": "record", "name": "E", "fields": fields})


RECORD = {"type": "record", "name": "Part", "fields": [{"name": "n", "type": "int", "default": 7}]}
ENUM = {"type": "enum", "name": "Size", "symbols": ["S", "L"]}


@pytest.mark.parametrize(
    ("kind", "default", "value"),
    [
        ("bytes", "\u00ff\u0001", b"\xff\x01"),
        ("double", 1, 1.0),
        (["null", "string"], None, None),
        (["string", "null"], "x", "x"),
        ({"type": "array", "items": "bytes"}, ["a"], [b"a"]),
        (ENUM, "L", "L"),
        (RECORD, {}, {"n": 7}),
        ({"type": "array", "items": RECORD}, [{"n": 1}, {}], [{"n": 1}, {"n": 7}]),
    ],
)
def test_a_default_is_a_value_of_its_type(kind: Any, default: Any, value: Any) -> None:
    project = projection(field(), field(name="f", type=kind, default=default))
    assert project is not None
    found = project({"always": 1})
    assert found == {"always": 1, "f": value} and list(types_in(found["f"])) == list(types_in(value))


@pytest.mark.parametrize(
    ("kind", "default"),
    [("string", 1), ("int", "1"), ("int", True), ("boolean", 0), (ENUM, "XL"), (["string", "null"], None)],
)
def test_a_default_of_another_type_is_never_a_value(kind: Any, default: Any) -> None:
    reader = field(name="f", type=kind)
    reader["fields"][1]["default"] = default  # fastavro would refuse to parse it
    if kind == ["string", "null"]:
        project = projection(field(), reader)
        assert project and project({"always": 1})["f"] is None  # Avro 1.12: a default of any branch
        return
    with pytest.raises(Unresolvable, match=r"E\.f: the default .* is not of the field's type"):
        projection(field(), reader)


def test_a_fields_own_name_comes_before_its_aliases_and_another_fields_name_is_no_alias() -> None:
    writer = parsed(
        {
            "type": "record",
            "name": "E",
            "fields": [{"name": "a", "type": "int"}, {"name": "b", "type": "int"}],
        }
    )
    b = {"name": "b", "type": "int", "aliases": ["a"]}
    c = {"name": "c", "type": "int", "aliases": ["b"], "default": 9}
    project = projection(writer, parsed({"type": "record", "name": "E", "fields": [c, b]}))
    assert project and project({"a": 1, "b": 2}) == {"b": 2, "c": 9}


@pytest.mark.parametrize(
    ("writer", "reader"),
    [
        ({"type": "map", "values": "int"}, {"type": "map", "values": "long"}),
        (
            {"type": "fixed", "name": "F", "size": 2},
            {"type": "fixed", "name": "F", "size": 2},
        ),
        ("string", "bytes"),
        ("bytes", "string"),
        (["null", "int", "string"], ["null", "int", "string"]),
        ("null", ["null", "string"]),
        ("long", {"type": "long", "logicalType": "timestamp-millis"}),
    ],
)
def test_what_is_not_covered_is_left_to_fastavro(writer: Any, reader: Any) -> None:
    assert projection(field(name="f", type=writer), field(name="f", type=reader)) is None


def test_a_dropped_field_may_have_any_type() -> None:
    project = projection(field(name="f", type={"type": "map", "values": "int"}), field())
    assert project and project({"always": 1, "f": {"x": 2}}) == {"always": 1}


def test_types_of_other_names_are_not_taken_for_each_other() -> None:
    other = {"type": "record", "name": "Other", "fields": [{"name": "n", "type": "int"}]}
    with pytest.raises(Unresolvable, match=r"E\.f: Other cannot be read as Part"):
        projection(field(name="f", type=other), field(name="f", type=RECORD))
    known_as = RECORD | {"aliases": ["Other"]}
    assert projection(field(name="f", type=other), field(name="f", type=known_as)) is not None


def test_a_record_and_an_enum_of_one_name_are_not_taken_for_each_other() -> None:
    enum = {"type": "enum", "name": "Part", "symbols": ["A"]}
    with pytest.raises(Unresolvable, match=r"E\.f: enum cannot be read as record"):
        projection(field(name="f", type=enum), field(name="f", type=RECORD))


WRITTEN = [(event_type, version) for event_type in EVENTS for version, _ in versions_of(event_type)]


@pytest.mark.parametrize(
    ("event_type", "version"), WRITTEN, ids=lambda each: str(getattr(each, "NAME", each))
)
@settings(max_examples=25)
@given(data=st.data())
async def test_an_event_written_by_any_version_is_read_as_todays_type(
    event_type: type[Event], version: int, data: st.DataObject
) -> None:
    text = dict(versions_of(event_type))[version]
    registry = Known(id_9=text)
    record = data.draw(any_value(parse(text, version, event_type.NAME).record)) | {"occurred_at": 5}
    payload = written(record, registry.schemas[9])
    resolved: Any = schemaless_reader(BytesIO(payload), registry.schemas[9], parsed_schema(event_type))
    assert await decode(frame(9, payload), event_type, registry) == event_type.from_record(resolved)


PLACED = OrderPlaced(
    order_id="o-1",
    order_version=1,
    customer_id="c-1",
    currency="EUR",
    total_cents=3,
    payment_method="card",
    lines=(),
    occurred_at=5,
)


async def test_a_pair_without_a_resolution_is_refused_for_every_record_with_the_reason() -> None:
    spec = json.loads(versions_of(OrderPlaced)[-1][1])
    spec["fields"] = [each for each in spec["fields"] if each["name"] != "currency"]
    registry = Known(id_9=json.dumps(spec))
    value = frame(9, written(PLACED.to_record(), registry.schemas[9]))
    for _ in range(2):
        with pytest.raises(Unresolvable, match=r"OrderPlaced\.currency has no default"):
            await decode(value, OrderPlaced, registry)


async def test_what_is_left_over_after_an_older_version_is_undecodable() -> None:
    spec = json.loads(versions_of(OrderPlaced)[-1][1])
    spec["fields"] = [each for each in spec["fields"] if each["name"] != "card_token"]
    registry = Known(id_9=json.dumps(spec))
    value = frame(9, written(PLACED.to_record(), registry.schemas[9]))
    assert await decode(value, OrderPlaced, registry) == PLACED
    for broken in (value + b"\x00", value[:-1]):
        with pytest.raises(Undecodable):
            await decode(broken, OrderPlaced, registry)


async def test_a_schema_object_at_a_reused_address_is_not_taken_for_another() -> None:
    text = versions_of(OrderPlaced)[-1][1]
    for name in ("card_token", "extra") * 20:
        spec = json.loads(text)
        if name == "extra":
            spec["fields"].insert(0, {"name": "extra", "type": "string"})
        else:
            spec["fields"] = [each for each in spec["fields"] if each["name"] != name]
        registry = Known(id_9=json.dumps(spec))
        value = frame(9, written(PLACED.to_record() | {"extra": "x"}, registry.schemas[9]))
        assert await decode(value, OrderPlaced, registry) == PLACED


def test_todays_own_schema_needs_no_projection() -> None:
    registry = Known(**{f"id_{n}": versions_of(each)[-1][1] for n, each in enumerate(EVENTS)})
    assert all(registry.schemas[n] is parsed_schema(each) for n, each in enumerate(EVENTS))
