"""Writer's schemas that could harm the reader are refused before a byte is read with them."""

import json
from typing import Any

import pytest

from chassis.errors import PermanentFailure
from chassis.events.writer_schema import UnsafeSchema, writer_schema


def event(field: Any) -> str:
    return json.dumps({"type": "record", "name": "E", "fields": [{"name": "f", "type": field}]})


def record(name: str, *types: Any) -> dict[str, Any]:
    fields = [{"name": f"f{number}", "type": kind} for number, kind in enumerate(types)]
    return {"type": "record", "name": name, "fields": fields}


def nested(depth: int) -> dict[str, Any]:
    return record(f"Depth{depth}", nested(depth - 1) if depth > 1 else "int")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (event({"type": "array", "items": "null"}), "an array of items that take no bytes"),
        (event({"type": "array", "items": {"type": "null"}}), "an array of items that take no bytes"),
        (event(["null", {"type": "array", "items": "null"}]), "an array of items that take no bytes"),
        (event({"type": "map", "values": {"type": "array", "items": "null"}}), "an array of items"),
        (event({"type": "array", "items": record("Empty")}), "Empty takes no bytes"),
        (event({"type": "array", "items": record("Nulls", "null", "null")}), "Nulls takes no bytes"),
        (event({"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}}), "F takes no bytes"),
        (event(record("Empty")), "Empty takes no bytes"),
        (event(["null", "E"]), "E contains itself"),
        (event({"type": "array", "items": "E"}), "E contains itself"),
        (event(record("A", "string", {"type": "map", "values": "A"})), "A contains itself"),
        (json.dumps("string"), "not a record"),
        (json.dumps({"type": "enum", "name": "E", "symbols": ["A"]}), "not a record"),
        (json.dumps(["null", record("E", "int")]), "not a record"),
        (
            event({"type": "array", "items": record("Nulls", "int", *["null"] * 9)}),
            "items of 11 values in 1 bytes",
        ),
        (
            event({"type": "map", "values": record("Nulls", "int", *["null"] * 9)}),
            "items of 11 values in 2 bytes",
        ),
        (event({"type": "array", "items": nested(5)}), "items of 6 values in 1 bytes"),
        (
            event(["null", {"type": "array", "items": ["null", record("Nulls", *["null"] * 9, "int")]}]),
            "items of 11",
        ),
        (event("no such type"), "not Avro: UnknownType"),
        (json.dumps({"type": "object", "properties": {}}), "not Avro"),
        ('syntax = "proto3";', "not Avro: JSONDecodeError"),
        ("[" * 100_000, "not Avro: RecursionError"),
    ],
)
def test_a_dangerous_schema_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UnsafeSchema, match=reason) as refusal:
        writer_schema(text)
    assert isinstance(refusal.value, PermanentFailure)


@pytest.mark.parametrize(
    "field",
    [
        "null",
        {"type": "array", "items": ["null", "string"]},
        {"type": "map", "values": "null"},
        {"type": "array", "items": record("Mixed", "null", "int")},
        {"type": "fixed", "name": "F", "size": 16},
        record("Twice", record("Part", "int"), "Part"),
        {"type": "array", "items": {"type": "enum", "name": "Size", "symbols": ["S", "L"]}},
    ],
)
def test_a_harmless_schema_is_taken_though_we_would_not_write_it(field: Any) -> None:
    fields = json.loads(event(field))["fields"]
    sized = {"type": "record", "name": "E", "fields": [*fields, {"name": "g", "type": "int"}]}
    assert writer_schema(json.dumps(sized))["name"] == "E"
