"""A change that breaks is refused with place, reason and remedy; one that does not is accepted, without a registry."""

import ast
import json
import sys
import time
from typing import Any

import pytest

from schemas import EVENTS
from schemas.compatibility import SchemaError, breaks, mismatches
from schemas.files import ROOT, versions_of
from tests.support.avro_disagreements import enum, field, part, record

BESIDE = "add a new field with a default, or publish a new event type beside this one"
OLD = "readers of v1 would fail"
NEW = "readers of v2 would fail on events of v1"
BOTH = "readers of v1 would fail, and readers of v2 on events of v1"
BOTH_MISREAD = "readers of v1 would misread it, and readers of v2 on events of v1"
CENTS = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
MICROS = {"type": "long", "logicalType": "timestamp-micros"}


def order(*fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    return record(*fields, name="OrderPlaced", namespace="fanout", **more)


def of(kind: Any) -> dict[str, Any]:
    return order(field("x", kind))


def lines(*fields: dict[str, Any]) -> dict[str, Any]:
    return order(field("lines", {"type": "array", "items": record(*fields, name="OrderLine")}))


def array(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def map_of(values: Any) -> dict[str, Any]:
    return {"type": "map", "values": values}


def fixed(size: int, name: str = "Hash", **more: Any) -> dict[str, Any]:
    return {"type": "fixed", "name": name, "size": size, **more}


ID = field("id", "string")
PRICE = field("price_cents", "long")

BREAKS: dict[str, tuple[Any, Any, str, str]] = {
    "a removed field": (
        lines(ID, PRICE),
        lines(ID),
        f"OrderPlaced.lines[].price_cents: removed without default; {OLD}",
        "keep price_cents and stop using it; only a field that has a default in v1 can be removed",
    ),
    "a required field": (
        lines(ID),
        lines(ID, PRICE),
        f"OrderPlaced.lines[].price_cents: added without default; {NEW}",
        'give it a default, best as ["null", …] with the default null',
    ),
    "a field renamed": (
        order(ID, PRICE),
        order(ID, field("amount_cents", "long")),
        f"OrderPlaced.price_cents: renamed to amount_cents without alias; {BOTH}",
        "keep price_cents, and add amount_cents beside it as a new field with a default",
    ),
    "a field renamed with an alias": (
        order(PRICE),
        order(field("amount_cents", "long", aliases=["price_cents"])),
        f"OrderPlaced.price_cents: renamed to amount_cents and its alias helps readers of v2 only; {OLD}",
        "keep price_cents, and add amount_cents beside it as a new field with a default",
    ),
    "another type": (
        of("long"),
        of("string"),
        f"OrderPlaced.x: type changed from long to string; {BOTH}",
        f"keep the type, and {BESIDE}",
    ),
    "a wider type": (
        of("int"),
        of("long"),
        f"OrderPlaced.x: type changed from int to long; {OLD}",
        f"keep the type, and {BESIDE}",
    ),
    "a narrower type, which the other side only misreads": (
        of("double"),
        of("long"),
        f"OrderPlaced.x: type changed from double to long; {NEW}",
        f"keep the type, and {BESIDE}",
    ),
    "a narrower type in a map": (
        of(map_of("long")),
        of(map_of("int")),
        f"OrderPlaced.x{{}}: type changed from long to int; {NEW}",
        f"keep the type, and {BESIDE}",
    ),
    "an array instead of one": (
        of("long"),
        of(array("long")),
        f"OrderPlaced.x: type changed from long to array of long; {BOTH}",
        f"keep the type, and {BESIDE}",
    ),
    "bytes instead of a string, which the rules allow": (
        of("string"),
        of("bytes"),
        "OrderPlaced.x: type changed from string to bytes, which Avro allows, but bytes that are not UTF-8 are no"
        " string; readers of v1 would misread it",
        f"keep the type, and {BESIDE}",
    ),
    "a field that became nullable": (
        of("long"),
        of(["null", "long"]),
        f"OrderPlaced.x: null is allowed now; {OLD}",
        f"keep it as it is, and {BESIDE}",
    ),
    "a field that became required": (
        of(["null", "long"]),
        of("long"),
        f"OrderPlaced.x: null is no longer allowed; {NEW}",
        "keep null in its type",
    ),
    "another optional type": (
        of(["null", "long"]),
        of(["null", "string"]),
        f"OrderPlaced.x: type changed from [null, long] to [null, string]; {BOTH}",
        f"keep the type, and {BESIDE}",
    ),
    "a branch added": (
        of(["null", "long"]),
        of(["null", "long", "string"]),
        f"OrderPlaced.x: union branch string added; {OLD}",
        f"keep the union as it is, and {BESIDE}",
    ),
    "a branch removed": (
        of(["null", "long", "string"]),
        of(["null", "long"]),
        f"OrderPlaced.x: union branch string removed; {NEW}",
        "keep the branch and stop writing it",
    ),
    "branches in another order": (
        of(["string", "bytes"]),
        of(["bytes", "string"]),
        f"OrderPlaced.x: union branches reordered, so that bytes may be read as string; {BOTH_MISREAD}",
        "keep the order",
    ),
    "a long read as a double": (
        of(["long", "double"]),
        of("double"),
        "OrderPlaced.x<long>: type changed from long to double, which Avro allows, but a long above 2^53 loses"
        " digits in a double; readers of v2 would misread it on events of v1",
        f"keep the type, and {BESIDE}",
    ),
    "a field inside one branch": (
        of(["null", part("a", "n"), record(field("b", "int"), name="Other")]),
        of(["null", part("a", "n"), record(field("b", "string"), name="Other")]),
        f"OrderPlaced.x<Other>.b: type changed from int to string; {BOTH}",
        f"keep the type, and {BESIDE}",
    ),
    "a symbol added": (
        of(enum("card")),
        of(enum("card", "BOOK")),
        f"OrderPlaced.x: enum symbol BOOK added, for which v1 has no default; {OLD}",
        f"leave the enum as it is, and {BESIDE}",
    ),
    "a symbol added, and a default that comes too late": (
        of(enum("card")),
        of(enum("card", "BOOK", default="card")),
        f"OrderPlaced.x: enum symbol BOOK added, for which v1 has no default; {OLD}",
        f"leave the enum as it is, and {BESIDE}",
    ),
    "symbols removed": (
        of(enum("card", "BOOK", "PEN")),
        of(enum("card")),
        f"OrderPlaced.x: enum symbols BOOK, PEN removed; {NEW}",
        "keep the symbol and stop using it",
    ),
    "a symbol replaced": (
        of(enum("card", "BOOK")),
        of(enum("card", "PEN")),
        f"OrderPlaced.x: enum symbol BOOK replaced by PEN; {BOTH}",
        f"leave the enum as it is, and {BESIDE}",
    ),
    "an event renamed": (
        order(ID),
        {**order(ID), "name": "OrderTaken"},
        f"OrderTaken: record renamed from OrderPlaced to OrderTaken without alias; {BOTH}",
        f"keep the name OrderPlaced, or {BESIDE}",
    ),
    "an event renamed with an alias": (
        order(ID),
        {**order(ID), "name": "OrderTaken", "aliases": ["OrderPlaced"]},
        f"OrderTaken: record renamed from OrderPlaced to OrderTaken and its alias helps readers of v2 only; {OLD}",
        f"keep the name OrderPlaced, or {BESIDE}",
    ),
    "an event moved and renamed, with an alias of the new namespace": (
        order(ID),
        {**order(ID), "name": "OrderTaken", "namespace": "shop", "aliases": ["OrderPlaced"]},
        f"OrderTaken: record renamed from OrderPlaced to OrderTaken without alias; {BOTH}",
        f"keep the name OrderPlaced, or {BESIDE}",
    ),
    "a nullable record renamed": (
        of(["null", record(ID, name="Card")]),
        of(["null", record(ID, name="Token")]),
        f"OrderPlaced.x: record renamed from Card to Token without alias; {BOTH}",
        f"keep the name Card, or {BESIDE}",
    ),
    "an enum renamed": (
        of(enum("card")),
        of({**enum("card"), "name": "Method"}),
        f"OrderPlaced.x: enum renamed from E to Method without alias; {BOTH}",
        f"keep the name E, or {BESIDE}",
    ),
    "another size": (
        of(fixed(16)),
        of(fixed(12)),
        f"OrderPlaced.x: fixed size changed from 16 to 12; {BOTH}",
        f"keep the size, and {BESIDE}",
    ),
    "another scale": (
        of(CENTS),
        of({**CENTS, "scale": 3}),
        f"OrderPlaced.x: decimal scale changed from 2 to 3; {BOTH_MISREAD}",
        f"keep the logical type, and {BESIDE}",
    ),
    "another precision": (
        of(CENTS),
        of({**CENTS, "precision": 12}),
        f"OrderPlaced.x: decimal precision changed from 9 to 12; {BOTH_MISREAD}",
        f"keep the logical type, and {BESIDE}",
    ),
    "another unit of time": (
        of(MILLIS),
        of(MICROS),
        f"OrderPlaced.x: logical type changed from timestamp-millis to timestamp-micros; {BOTH_MISREAD}",
        f"keep the logical type, and {BESIDE}",
    ),
    "a logical type that came": (
        of("long"),
        of(MILLIS),
        f"OrderPlaced.x: logical type timestamp-millis added; {BOTH_MISREAD}",
        f"keep the logical type, and {BESIDE}",
    ),
    "a logical type that went": (
        of(fixed(16, logicalType="uuid")),
        of(fixed(16)),
        f"OrderPlaced.x: logical type uuid removed; {BOTH_MISREAD}",
        f"keep the logical type, and {BESIDE}",
    ),
    "a field that takes two": (
        order(field("a", "int", default=1), field("b", "int")),
        order(field("b", "int", aliases=["a"])),
        f"OrderPlaced.b: v2 takes both b and a for this field; {NEW}",
        "remove the alias, and give the field a name of its own",
    ),
    "a part of a recursive type": (
        order(field("next", ["null", "OrderPlaced"]), field("n", "int")),
        order(field("next", ["null", "OrderPlaced"]), field("n", "string")),
        f"OrderPlaced.n: type changed from int to string; {BOTH}",
        f"keep the type, and {BESIDE}",
    ),
}


@pytest.mark.parametrize(("old", "new", "sentence", "remedy"), BREAKS.values(), ids=BREAKS)
def test_a_break_says_where_why_who_fails_and_what_to_do(
    old: Any, new: Any, sentence: str, remedy: str
) -> None:
    found = breaks(old, new, 1, 2)
    assert [(str(one), one.remedy) for one in found] == [(sentence, remedy)]


COMPATIBLE: dict[str, tuple[Any, Any]] = {
    "an optional field": (order(ID), order(ID, field("note", ["null", "string"], default=None))),
    "a field with a default, first of all": (order(ID), order(field("n", "int", default=0), ID)),
    "a field with a default removed": (order(ID, field("n", "int", default=0)), order(ID)),
    "a default added, changed and removed": (
        order(ID, field("n", "int"), field("m", "int", default=1), field("o", "int", default=1)),
        order(ID, field("n", "int", default=0), field("m", "int", default=2), field("o", "int")),
    ),
    "fields in another order": (order(ID, PRICE), order(PRICE, ID)),
    "docs and attributes": (order(ID), order({**ID, "doc": "An id."}, doc="An order.", topic="orders")),
    "an enum with a default that grows": (of(enum("a", default="a")), of(enum("a", "b", default="a"))),
    "an enum with defaults whose symbol is replaced": (
        of(enum("a", "b", default="a")),
        of(enum("a", "c", default="a")),
    ),
    "symbols in another order": (of(enum("a", "b")), of(enum("b", "a"))),
    "branches in another order": (of(["null", "string"]), of(["string", "null"])),
    "a branch that old readers promote": (of(["null", "long"]), of(["null", "long", "int"])),
    "another namespace": (order(ID), {**order(ID), "namespace": "shop"}),
    "another namespace of a type in a union": (of(["null", part("a", "n")]), of(["null", part("b", "n")])),
    "names that are each other's alias": (
        order(field("a", "int", aliases=["b"])),
        order(field("b", "int", aliases=["a"])),
    ),
    "types that are each other's relative and full alias": (
        of(fixed(4, "Old", aliases=["New"])),
        of(fixed(4, "New", aliases=["fanout.Old"])),
    ),
    "a record that is defined elsewhere": (
        order(field("a", record(ID, name="Part")), field("b", "Part")),
        order(field("b", record(ID, name="Part")), field("a", "fanout.Part")),
    ),
    "an unknown logical type, which is ignored": (of("long"), of({"type": "long", "logicalType": "money"})),
    "a logical type that does not fit, which is ignored": (
        of("long"),
        of({"type": "long", "logicalType": "date"}),
    ),
    "an error instead of a record": (order(ID), {**order(ID), "type": "error"}),
    "a change around two branches of one unqualified name": (
        of([part("m", "a"), part("n", "b")]),
        order(field("x", [part("m", "a"), part("n", "b")]), field("y", "int", default=1)),
    ),
    "a change around a union in which a branch matches the next": (
        of(["double", "long"]),
        order(field("x", ["double", "long"]), field("y", "int", default=1)),
    ),
    "a new part of a recursive type": (
        order(field("next", ["null", "OrderPlaced"])),
        order(field("next", ["null", "OrderPlaced"]), field("n", "int", default=0)),
    ),
}


@pytest.mark.parametrize(("old", "new"), COMPATIBLE.values(), ids=COMPATIBLE)
def test_a_change_that_both_sides_can_read_is_no_break(old: Any, new: Any) -> None:
    assert breaks(old, new, 1, 2) == []


PROMOTIONS = [
    ("int", "long"),
    ("int", "double"),
    ("float", "double"),
    ("string", "bytes"),
]
LOSSY = [("int", "float"), ("long", "float"), ("long", "double"), ("bytes", "string")]
PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")


@pytest.mark.parametrize("writer", PRIMITIVES)
@pytest.mark.parametrize("reader", PRIMITIVES)
def test_a_primitive_is_read_as_itself_or_as_a_wider_one(reader: str, writer: str) -> None:
    found = [mismatch.kind for mismatch in mismatches(of(reader), of(writer))]
    if reader == writer or (writer, reader) in PROMOTIONS:
        assert found == []
    else:
        assert found == ["lossy" if (writer, reader) in LOSSY else "type"]


def test_each_cause_is_told_once_and_all_are_told() -> None:
    address = record(field("zip", "string"), field("street", "string"), name="Address")
    newer = record(field("zip", "int"), field("street", "string"), name="Address")
    old = order(field("from", address), field("to", "Address"), PRICE)
    new = order(field("from", newer), field("to", "Address"))
    assert [one.path for one in breaks(old, new, 1, 2)] == ["OrderPlaced.from.zip", "OrderPlaced.price_cents"]


def test_the_versions_are_called_by_their_numbers() -> None:
    (found,) = breaks(order(ID, PRICE), order(ID), 3, 7)
    assert found.reason == "removed without default; readers of v3 would fail"


def test_schemas_are_taken_as_text_too() -> None:
    old, new = json.dumps(of("int")), json.dumps(of("long"))
    assert mismatches(new, old) == []
    assert [str(one) for one in mismatches(old, new)] == ["OrderPlaced.x: type: long cannot be read as int"]
    assert mismatches("double", "float") == []


@pytest.mark.parametrize("event_type", EVENTS, ids=lambda event_type: event_type.NAME)
def test_every_contract_of_ours_is_compatible_with_itself(event_type: Any) -> None:
    _, text = versions_of(event_type)[-1]
    assert breaks(text, text, 1, 1) == []


MALFORMED: dict[str, tuple[Any, str]] = {
    "text that is no JSON": (
        '{"type": ',
        "the schema is not JSON: Expecting value: line 1 column 10 (char 9)",
    ),
    "a number": (5, "the schema: 5 is not a type"),
    "no type": ({}, "the schema: the type is missing"),
    "an unknown type": (
        lines(field("n", "strng")),
        "OrderPlaced.lines[].n: the type 'strng' is not defined before it is used",
    ),
    "a type in a type": (
        of({"type": {"type": "int"}}),
        'OrderPlaced.x: {"type": "int"} is not the name of a type',
    ),
    "a name used before its definition": (
        order(field("a", "Part"), field("b", record(name="Part"))),
        "OrderPlaced.a: the type 'Part' is not defined before it is used",
    ),
    "a type defined twice": (
        order(field("a", enum("x")), field("b", enum("x"))),
        "OrderPlaced.b: the name 'fanout.E' is defined twice",
    ),
    "no name": ({"type": "record", "fields": []}, "the schema: record without a name"),
    "a name that is none": (record(name="A-b"), 'the schema: "A-b" is not a name'),
    "a namespace that is none": (record(namespace="a-b"), 'the schema: "a-b" is not a namespace'),
    "no fields": ({"type": "record", "name": "A"}, "A: a record without a list of fields"),
    "a field that is none": (record("x"), 'A: "x" is not a field with a name'),  # type: ignore[arg-type]
    "a field without type": (record({"name": "x"}), "A.x: the type is missing"),
    "a field twice": (order(ID, ID), "OrderPlaced: id is the name or alias of a field twice"),
    "an alias that is a field": (
        order(ID, field("x", "int", aliases=["id"])),
        "OrderPlaced: id is the name or alias of a field twice",
    ),
    "aliases that are no list": (record(aliases="B"), "A: aliases is not a list"),
    "an array without items": (of({"type": "array"}), "OrderPlaced.x[]: array without items"),
    "an enum without symbols": (
        of({"type": "enum", "name": "E"}),
        "OrderPlaced.x: an enum without a list of symbols",
    ),
    "a symbol that is none": (of(enum("a-b")), 'OrderPlaced.x: "a-b" cannot be one of its symbols'),
    "a symbol twice": (of(enum("a", "a")), "OrderPlaced.x: the symbol a appears twice"),
    "an enum's default that is none": (
        of(enum("a", default="b")),
        'OrderPlaced.x: the default "b" is not a symbol of the enum',
    ),
    "a fixed without size": (
        of({"type": "fixed", "name": "H"}),
        "OrderPlaced.x: a fixed needs a size in bytes, not null",
    ),
    "a union in a union": (of(["null", ["int"]]), "OrderPlaced.x: a union directly inside a union"),
    "a branch twice": (
        of(["int", {"type": "int", "logicalType": "date"}]),
        "OrderPlaced.x: the union has int twice",
    ),
    "a default of another type": (
        order(field("x", "int", default="1")),
        'OrderPlaced.x: the default "1" is not a value of int',
    ),
    "a default that is too large": (
        order(field("x", "int", default=2**31)),
        "OrderPlaced.x: the default 2147483648 is not a value of int",
    ),
    "a default of no branch": (
        order(field("x", ["int", "string"], default=None)),
        "OrderPlaced.x: the default null is not a value of [int, string]",
    ),
    "a default without a required part": (
        order(field("x", record(ID, name="Part"), default={})),
        "OrderPlaced.x: the default {} is not a value of record Part",
    ),
    "an order that is none": (
        order(field("x", "int", order="sideways")),
        'OrderPlaced.x: the order "sideways" is none of ascending, descending, ignore',
    ),
}


@pytest.mark.parametrize(("schema", "message"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_schema_is_one_error_with_its_place(schema: Any, message: str) -> None:
    for reader, writer in ((schema, of("int")), (of("int"), schema)):
        with pytest.raises(SchemaError) as raised:
            mismatches(reader, writer)
        assert str(raised.value) == message


@pytest.mark.parametrize("depth", [200, 100_000])
def test_a_schema_nested_too_deeply_is_an_error_of_its_own(depth: int) -> None:
    text = '{"type": "array", "items": ' * depth + '"int"' + "}" * depth
    with pytest.raises(SchemaError, match="deep"):
        mismatches(text, text)


def test_a_long_chain_of_records_is_an_error_of_its_own() -> None:
    chain = [record(field("x", "int"), name="R0")]
    chain += [record(field("x", f"R{n}"), name=f"R{n + 1}") for n in range(3_000)]
    reader = order(field("all", chain, default={"x": 1}), field("last", "R3000"))
    writer = order(field("unread", chain), field("last", "R3000"))
    with pytest.raises(SchemaError, match="deep"):
        mismatches(reader, writer)


def test_records_that_are_used_many_times_over_are_compared_in_no_time() -> None:
    """Each of forty records has the one before twice: 2^40 paths."""
    branches = [record(field("x", "int"), name="R0")]
    branches += [record(field("a", f"R{n}"), field("b", f"R{n}"), name=f"R{n + 1}") for n in range(40)]
    started = time.monotonic()
    assert mismatches(order(field("all", branches)), order(field("all", branches))) == []
    assert time.monotonic() - started < 1


@pytest.mark.parametrize("name", ["avro_types", "resolution", "compatibility"])
def test_the_engine_needs_the_standard_library_only(name: str) -> None:
    tree = ast.parse((ROOT / f"{name}.py").read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported - {"schemas.avro_types", "schemas.resolution"} <= sys.stdlib_module_names | {
        "collections.abc"
    }
