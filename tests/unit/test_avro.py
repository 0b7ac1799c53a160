"""The codec: what we write everyone can read, and no bytes of anyone's do harm."""

import json
from typing import Any

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from hypothesis import given
from hypothesis import strategies as st

from chassis.avro import MAX_BYTES, Undecodable, decode, encode, frame
from chassis.failures import InfrastructureFailure, PermanentFailure
from chassis.writer_schema import writer_schema
from schemas import EVENTS, Event, FraudAssessed, OrderCancelled, OrderLine, OrderPlaced, OrderShipped
from schemas.files import parsed_schema, subject_of, versions_of
from tests.unit.any_event import any_event

SUBJECTS = {"subject.name.strategy.type": "TOPIC_RECORD"}
SHIPPED = OrderShipped(
    order_id="o-1",
    shipment_version=1,
    shipment_id="s-1",
    customer_id="c-1",
    tracking_code="t-1",
    occurred_at=5,
)
events = st.one_of([any_event(event_type) for event_type in EVENTS])


class Known:
    """A registry that has learned everything it will ever be asked, by schema text."""

    def __init__(self, **texts: str) -> None:
        self.schemas = {int(name.removeprefix("id_")): writer_schema(text) for name, text in texts.items()}

    async def schema_by_id(self, schema_id: int) -> dict[str, Any]:
        return self.schemas[schema_id]


OURS = Known(**{f"id_{number}": versions_of(event_type)[-1][1] for number, event_type in enumerate(EVENTS)})


def value_of(event: Event) -> bytes:
    return frame(EVENTS.index(type(event)), encode(event))


@given(event=events)
async def test_an_event_survives_the_wire(event: Event) -> None:
    assert await decode(value_of(event), type(event), OURS) == event


@pytest.mark.parametrize("event_type", EVENTS)
def test_our_bytes_are_those_of_confluents_serializer_and_its_deserializer_reads_them(
    event_type: type[Event],
) -> None:
    registry = SchemaRegistryClient.new_client({"url": f"mock://{event_type.NAME}"})
    text = versions_of(event_type)[-1][1]
    serializer = AvroSerializer(registry, text, conf={**SUBJECTS, "validate.strict": True})
    deserializer = AvroDeserializer(registry, conf=SUBJECTS)
    context = SerializationContext(event_type.TOPIC, MessageField.VALUE)

    @given(event=any_event(event_type))
    def agrees(event: Event) -> None:
        theirs = serializer(event.to_record(), context)
        ours = frame(registry.get_latest_version(subject_of(event_type)).schema_id, encode(event))
        assert ours == theirs
        assert event_type.from_record(deserializer(ours, context)) == event

    agrees()
    assert registry.get_subjects() == [subject_of(event_type)]


@given(garbage=st.binary(max_size=400), event_type=st.sampled_from(EVENTS))
async def test_garbage_is_undecodable_and_nothing_worse(garbage: bytes, event_type: type[Event]) -> None:
    try:
        event = await decode(frame(EVENTS.index(event_type), garbage), event_type, OURS)
    except Undecodable:
        return
    assert event.time and await decode(value_of(event), event_type, OURS) == event


@given(event=events, data=st.data())
async def test_a_value_cut_short_or_with_something_after_it_is_undecodable(event: Event, data: Any) -> None:
    value = value_of(event)
    length = data.draw(st.integers(0, len(value) - 1))
    for damaged in (value[:length], value + b"\0"):
        with pytest.raises(Undecodable):
            await decode(damaged, type(event), OURS)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "a value of 0 bytes is too short"),
        (b"", "a value of 0 bytes is too short"),
        (b"\0\0\0\0\1", "a value of 5 bytes is too short"),
        (b'{"order_id": "o-1"}', "the first byte is 123, not 0"),
        (value_of(SHIPPED) + bytes(MAX_BYTES), f"over the limit of {MAX_BYTES}"),
        (value_of(SHIPPED) + b"\0", "1 bytes left over after OrderShipped"),
        (value_of(SHIPPED)[:-1], "not OrderShipped: EOFError"),
        (value_of(SHIPPED).replace(b"o-1", b"\xff-1"), "not OrderShipped: UnicodeDecodeError"),
        (frame(EVENTS.index(OrderShipped), b"\x01" * 9), "not OrderShipped: EOFError"),
        (
            frame(EVENTS.index(FraudAssessed), b"anything"),
            "one of fanout.FraudAssessed, not of fanout.OrderShipped",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_is_not_an_event_is_refused_with_its_reason(value: bytes | None, reason: str) -> None:
    with pytest.raises(Undecodable, match=reason) as refusal:
        await decode(value, OrderShipped, OURS)
    assert isinstance(refusal.value, PermanentFailure)


async def test_a_reason_no_enum_knows_is_undecodable() -> None:
    cancelled = OrderCancelled(
        order_id="o", order_version=2, customer_id="c", reason="out_of_stock", occurred_at=0
    )
    value = value_of(cancelled)
    with pytest.raises(Undecodable, match="IndexError"):
        await decode(value[:-2] + b"\x08\x00", OrderCancelled, OURS)


@pytest.mark.parametrize("occurred_at", [-1, 253_402_300_800_000, 2**63 - 1])
async def test_a_time_no_calendar_has_is_undecodable(occurred_at: int) -> None:
    event = OrderShipped.from_record(SHIPPED.to_record() | {"occurred_at": occurred_at})
    with pytest.raises(Undecodable, match=f"occurred_at {occurred_at} is not a time"):
        await decode(value_of(event), OrderShipped, OURS)


async def test_an_outage_of_the_registry_is_not_the_messages_fault() -> None:
    class Away:
        async def schema_by_id(self, schema_id: int) -> dict[str, Any]:
            raise InfrastructureFailure("away")

    with pytest.raises(InfrastructureFailure):
        await decode(value_of(SHIPPED), OrderShipped, Away())


def with_field(text: str, **field: Any) -> str:
    schema = json.loads(text)
    schema["fields"].insert(1, field)
    return json.dumps(schema)


def without_field(text: str, name: str) -> str:
    schema = json.loads(text)
    schema["fields"] = [field for field in schema["fields"] if field["name"] != name]
    return json.dumps(schema)


PLACED = OrderPlaced(
    order_id="o-1",
    order_version=1,
    customer_id="c-1",
    currency="EUR",
    total_cents=300,
    payment_method="card",
    card_token="tok_visa",
    lines=(OrderLine(product_id="p-1", quantity=3, unit_price_cents=100),),
    occurred_at=5,
)


async def test_a_reader_ignores_the_field_that_a_newer_writer_added() -> None:
    newer = with_field(versions_of(OrderPlaced)[-1][1], name="coupon", type=["null", "string"], default=None)
    registry = Known(id_9=newer)
    payload = written({**PLACED.to_record(), "coupon": "SPRING"}, registry.schemas[9])
    assert await decode(frame(9, payload), OrderPlaced, registry) == PLACED


async def test_a_reader_fills_in_the_field_that_an_older_writer_did_not_know() -> None:
    registry = Known(id_9=without_field(versions_of(OrderPlaced)[-1][1], "card_token"))
    payload = written(PLACED.to_record(), registry.schemas[9])
    expected = OrderPlaced.from_record(PLACED.to_record() | {"card_token": None})
    assert await decode(frame(9, payload), OrderPlaced, registry) == expected


async def test_a_writer_whose_schema_does_not_fit_is_undecodable() -> None:
    registry = Known(id_9=without_field(versions_of(OrderPlaced)[-1][1], "customer_id"))
    payload = written(PLACED.to_record(), registry.schemas[9])
    with pytest.raises(Undecodable, match="SchemaResolutionError: No default value for field customer_id"):
        await decode(frame(9, payload), OrderPlaced, registry)


async def test_a_writers_logical_types_do_not_change_our_types() -> None:
    text = versions_of(OrderPlaced)[-1][1]
    stamped = text.replace('"type": "long"', '"type": {"type": "long", "logicalType": "timestamp-millis"}')
    assert stamped != text
    assert await decode(frame(9, encode(PLACED)), OrderPlaced, Known(id_9=stamped)) == PLACED


def test_our_own_schema_is_recognized_so_that_nothing_is_resolved() -> None:
    assert all(OURS.schemas[number] is parsed_schema(event_type) for number, event_type in enumerate(EVENTS))


@pytest.mark.parametrize("cents", [1.5, 2**63, "300", None])
def test_money_that_is_no_whole_number_is_never_written(cents: Any) -> None:
    with pytest.raises((TypeError, OverflowError)):
        encode(OrderPlaced.from_record(PLACED.to_record() | {"total_cents": cents}))


@pytest.mark.parametrize("quantity", [1.5, 2**31, -(2**31) - 1])
def test_a_quantity_that_does_not_fit_its_avro_type_is_never_written(quantity: Any) -> None:
    line = OrderLine(product_id="p-1", quantity=quantity, unit_price_cents=1)
    with pytest.raises((TypeError, OverflowError)):
        encode(OrderPlaced.from_record(PLACED.to_record() | {"lines": [line.to_record()]}))


def written(record: dict[str, Any], schema: dict[str, Any]) -> bytes:
    from io import BytesIO

    from fastavro import schemaless_writer

    buffer = BytesIO()
    schemaless_writer(buffer, schema, record)
    return buffer.getvalue()
