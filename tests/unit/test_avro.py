"""The codec writes what Confluent's reads, and survives all bytes."""

from io import BytesIO
from typing import Any

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from fastavro import schemaless_writer
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import InfrastructureFailure, PermanentFailure
from chassis.events.avro import MAX_BYTES, ForeignSchemaId, Undecodable, decode, encode, frame
from schemas import EVENTS, Event, FraudAssessed, OrderCancelled, OrderShipped
from schemas.files import parsed_schema, subject_of, versions_of
from tests.support.known_schemas import OURS, Known
from tests.support.random_events import any_event

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
        schema_id = registry.get_latest_version(subject_of(event_type)).schema_id
        assert schema_id is not None
        ours = frame(schema_id, encode(event))
        assert ours == theirs
        assert event_type.from_record(deserializer(ours, context)) == event

    agrees()
    assert registry.get_subjects() == [subject_of(event_type)]


@given(garbage=st.binary(max_size=400), event_type=st.sampled_from(EVENTS))
async def test_garbage_raises_undecodable_and_nothing_else(garbage: bytes, event_type: type[Event]) -> None:
    try:
        event = await decode(frame(EVENTS.index(event_type), garbage), event_type, OURS)
    except Undecodable:
        return
    assert event.time and await decode(value_of(event), event_type, OURS) == event


@given(event=events, data=st.data())
async def test_a_truncated_or_extended_value_is_undecodable(event: Event, data: Any) -> None:
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
            "is not a version of shipments-fanout.OrderShipped",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_value_that_is_not_an_event_is_refused_with_the_reason(
    value: bytes | None, reason: str
) -> None:
    with pytest.raises((Undecodable, ForeignSchemaId), match=reason) as refusal:
        await decode(value, OrderShipped, OURS)
    assert isinstance(refusal.value, PermanentFailure)


async def test_a_schema_of_another_name_is_refused_though_it_is_registered_for_the_event() -> None:
    class Careless(Known):
        async def is_registered(self, schema_id: int, subject: str) -> bool:
            return True

    value = frame(9, encode(SHIPPED))
    misnamed = Careless(id_9=versions_of(FraudAssessed)[-1][1])
    with pytest.raises(Undecodable, match=r"belongs to fanout\.FraudAssessed, not to fanout\.OrderShipped"):
        await decode(value, OrderShipped, misnamed)


async def test_an_unknown_enum_symbol_is_undecodable() -> None:
    cancelled = OrderCancelled(
        order_id="o", order_version=2, customer_id="c", reason="out_of_stock", occurred_at=0
    )
    value = value_of(cancelled)
    with pytest.raises(Undecodable, match="IndexError"):
        await decode(value[:-2] + b"\x08\x00", OrderCancelled, OURS)


@pytest.mark.parametrize("occurred_at", [-1, 253_402_300_800_000, 2**63 - 1])
async def test_a_timestamp_outside_the_calendar_is_undecodable(occurred_at: int) -> None:
    payload = BytesIO()
    schemaless_writer(
        payload, parsed_schema(OrderShipped), SHIPPED.to_record() | {"occurred_at": occurred_at}
    )
    with pytest.raises(Undecodable, match=f"occurred_at {occurred_at} is not a time"):
        await decode(frame(EVENTS.index(OrderShipped), payload.getvalue()), OrderShipped, OURS)


async def test_an_outage_of_the_registry_is_an_infrastructure_failure() -> None:
    class Away:
        async def schema_by_id(self, schema_id: int) -> dict[str, Any]:
            raise InfrastructureFailure("away")

        async def is_registered(self, schema_id: int, subject: str) -> bool:
            raise InfrastructureFailure("away")

    with pytest.raises(InfrastructureFailure):
        await decode(value_of(SHIPPED), OrderShipped, Away())


def test_our_own_schema_is_recognized_so_that_no_schema_is_resolved() -> None:
    assert all(OURS.schemas[number] is parsed_schema(event_type) for number, event_type in enumerate(EVENTS))
