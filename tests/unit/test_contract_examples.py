"""The examples and headers of docs/asyncapi.yaml are what publishing really makes."""

from io import BytesIO
from typing import Any
from uuid import uuid4

import pytest
from fastavro import parse_schema, schemaless_reader, schemaless_writer

from chassis.events.avro import encode
from chassis.events.dead_letter import DLQ_HEADERS, REDRIVE_HEADERS, Origin, split_headers
from chassis.events.record import EVENT_TYPES
from chassis.outbox.publish import _row
from chassis.outbox.table import load_headers
from chassis.telemetry.trace_context import new_root
from docs.contracts import examples
from docs.contracts.examples import NoExample, example, newest_schema
from docs.contracts.headers import UndescribedHeader, _object
from docs.contracts.messages import to_avro_json
from schemas import EVENTS, Event
from tests.support.contract_documents import header_errors, read_document
from tests.support.thing_made import LINE, SIZE, field, thing

DOCUMENT = read_document()
MESSAGES = DOCUMENT["components"]["messages"]

each_event = pytest.mark.parametrize("event_type", EVENTS, ids=lambda event_type: event_type.NAME)


def payload_of(event_type: type[Event]) -> dict[str, Any]:
    payload: dict[str, Any] = MESSAGES[event_type.NAME]["examples"][0]["payload"]
    return payload


@each_event
def test_an_example_encodes_with_the_schema_beside_it_and_reads_back_the_same(
    event_type: type[Event],
) -> None:
    schema = parse_schema(MESSAGES[event_type.NAME]["payload"]["schema"])
    written = BytesIO()
    schemaless_writer(written, schema, payload_of(event_type), strict=True)
    assert schemaless_reader(BytesIO(written.getvalue()), schema, None) == payload_of(event_type)
    assert encode(event_type.from_record(payload_of(event_type))) == written.getvalue()


@pytest.mark.parametrize(
    ("name", "value"), [("order_id", 1), ("lines", 1), ("total_cents", "1"), ("more", 1)]
)
def test_an_example_with_a_wrong_field_does_not_encode(name: str, value: object) -> None:
    payload = payload_of(EVENT_TYPES["OrderPlaced"]) | {name: value}
    schema = parse_schema(MESSAGES["OrderPlaced"]["payload"]["schema"])
    with pytest.raises((TypeError, ValueError, AttributeError)):
        schemaless_writer(BytesIO(), schema, payload, strict=True)


@each_event
def test_published_headers_are_those_of_the_document(event_type: type[Event]) -> None:
    row = _row(event_type.from_record(payload_of(event_type)), uuid4(), new_root())
    published = {name: (value or b"").decode() for name, value in load_headers(row["headers"])}
    described = MESSAGES[event_type.NAME]["examples"][0]["headers"]
    assert header_errors(DOCUMENT, event_type.NAME, published) == []
    assert header_errors(DOCUMENT, event_type.NAME, described) == []
    assert list(published) == list(described)
    assert row["key"].decode() == described["ce_subject"]
    assert published["content-type"] == MESSAGES[event_type.NAME]["contentType"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ce_type", "OrderShipped"),
        ("ce_source", "/fanout/shipments"),
        ("ce_specversion", "0.3"),
        ("ce_id", "17"),
        ("traceparent", "00-1-2-01"),
        ("traceparent", f"00-{'0' * 32}-{'1' * 16}-01"),
        ("traceparent", f"00-{'1' * 32}-{'0' * 16}-01"),
        ("content-type", "application/json"),
    ],
)
def test_headers_are_refused_with_another_value(name: str, value: str) -> None:
    headers = MESSAGES["OrderPlaced"]["examples"][0]["headers"]
    assert header_errors(DOCUMENT, "OrderPlaced", headers | {name: value})


def test_headers_are_refused_if_one_is_missing() -> None:
    headers = MESSAGES["OrderPlaced"]["examples"][0]["headers"]
    for name in headers:
        assert header_errors(DOCUMENT, "OrderPlaced", {k: v for k, v in headers.items() if k != name})


def test_the_headers_of_dead_letters_are_read_as_written() -> None:
    dead_letter, redriven = (MESSAGES[name] for name in ("DeadLetter", "RedrivenRecord"))
    assert tuple(dead_letter["headers"]["required"]) == DLQ_HEADERS
    assert tuple(redriven["headers"]["required"]) == REDRIVE_HEADERS
    for message, names, redrive in ((dead_letter, DLQ_HEADERS, 0), (redriven, REDRIVE_HEADERS, 1)):
        written = message["examples"][0]["headers"]
        assert header_errors(DOCUMENT, message["name"], written) == []
        own, added = split_headers([(name, written[name].encode()) for name in names], names)
        assert not own
        assert Origin.read(added).redrive == redrive


def test_a_header_without_a_description_is_named() -> None:
    with pytest.raises(UndescribedHeader, match="describe the header ce_colour in "):
        _object(["ce_colour"], {"ce_colour": {}})


def test_every_type_that_avro_has_gets_an_example_that_encodes() -> None:
    kinds = {
        **{name: name for name in ("boolean", "int", "long", "float", "double", "bytes", "string")},
        "size": SIZE,
        "same_size": "Size",
        "line": LINE,
        "lines": {"type": "array", "items": "Line"},
        "map": {"type": "map", "values": "long"},
        "hash": {"type": "fixed", "name": "Hash", "size": 4},
        "plain": {"type": "string"},
        "at": {"type": "long", "logicalType": "timestamp-millis"},
        "maybe": ["null", "string"],
        "either": ["string", "null"],
    }
    schema = thing(*(field(name, kind) for name, kind in kinds.items()))
    value = example(schema, "ThingMade", {})
    schemaless_writer(BytesIO(), parse_schema(schema), value, strict=True)
    assert to_avro_json(value)["bytes"] == "\x01"


def test_a_type_without_an_example_is_named() -> None:
    with pytest.raises(NoExample, match=r"ThingMade\.colour: no example for the type 'hue'"):
        example(thing(field("colour", "hue")), "ThingMade", {})


def test_every_prepared_value_is_of_a_field_that_exists() -> None:
    paths = {path for event_type in EVENTS for path in field_paths(newest_schema(event_type))}
    names = {path.partition(".")[2] for path in paths}
    assert examples.VALUES.keys() <= paths | names


def field_paths(schema: Any) -> set[str]:
    match schema:
        case {"type": "record", "name": record, "fields": fields}:
            inner = {path for each in fields for path in field_paths(each["type"])}
            return inner | {f"{record}.{each['name']}" for each in fields}
        case {"items": items}:
            return field_paths(items)
        case _:
            return set()
