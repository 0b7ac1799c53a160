"""Kafka records, and `decode_record`, which makes an event of one or returns why that is impossible."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from uuid import UUID

import schemas
from chassis.errors import PermanentFailure
from chassis.events.avro import decode
from chassis.events.registry import Registry
from chassis.events.topics import REDRIVE, event_topic
from chassis.telemetry import trace_id_of
from schemas import Event

REDRIVES = 10_000
"""A record can be redriven fewer times than this."""
EVENT_TYPES: Mapping[str, type[Event]] = {event_type.NAME: event_type for event_type in schemas.EVENTS}


@dataclass(frozen=True)
class Record:
    """One Kafka record with its bytes unchanged."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]

    @cached_property
    def _by_name(self) -> dict[str, bytes | None]:
        return dict(self.headers)

    def header(self, name: str) -> str:
        """Returns the last header of this name as ASCII, or ""."""
        return (self._by_name.get(name) or b"").decode("ascii", "replace")

    @property
    def size(self) -> int:
        """The bytes of key, value and header values, close to what the record occupies in memory."""
        values = (self.key, self.value, *(value for _, value in self.headers))
        return sum(len(value) for value in values if value)

    @property
    def at(self) -> datetime:
        return datetime.fromtimestamp(max(self.timestamp_ms, 0) / 1000, UTC)

    @property
    def event_id(self) -> UUID | None:
        try:
            return UUID(self.header("ce_id"))
        except ValueError:
            return None

    @property
    def redrive(self) -> int:
        """How often the record was redriven; 0 outside redrive topics, where any producer could set the header."""
        count = self.header("dlq_redrive") if self.topic.endswith(REDRIVE) else ""
        return int(count) if count.isdecimal() and len(count) < 5 else 0

    @property
    def log_fields(self) -> dict[str, object]:
        """Names the record in a log line."""
        return {
            "topic": self.topic,
            "partition": self.partition,
            "offset": self.offset,
            "event_id": self.header("ce_id"),
            "order_id": self.header("ce_subject"),
            "trace_id": trace_id_of(self.header("traceparent")),
        }


@dataclass(frozen=True, slots=True)
class DecodedRecord:
    """A record of a type that the consumer handles, with its event."""

    record: Record
    event_id: UUID
    event: Event


@dataclass(frozen=True, slots=True)
class UnreadableRecord:
    """A record that can never be decoded, and the reason."""

    record: Record
    failure: PermanentFailure


async def decode_record(
    record: Record, wanted: Mapping[str, type[Event]], registry: Registry
) -> DecodedRecord | UnreadableRecord | None:
    """Decodes a record. Returns None if its event type is not in `wanted`.

    In a redrive topic, which belongs to one consumer, such a record is unreadable instead. Raises
    InfrastructureFailure while the registry is unavailable.
    """
    try:
        if is_unwanted(record, wanted):
            return None
        type_name = _type_of(record)
        if type_name not in wanted:
            raise PermanentFailure(f"it was redriven as {type_name}, which this consumer does not handle")
        if (event_id := record.event_id) is None:
            raise PermanentFailure("header ce_id is missing or not a UUID")
        event = await decode(record.value, wanted[type_name], registry)
        if record.key != event.key.encode():
            raise PermanentFailure(f"the key is {record.key!r:.100}, but the event's is {event.key[:100]!r}")
        return DecodedRecord(record, event_id, event)
    except PermanentFailure as failure:
        return UnreadableRecord(record, failure)


def is_unwanted(record: Record, wanted: Mapping[str, type[Event]]) -> bool:
    """Returns True if the record, by its headers, is an event of a type not in `wanted`, and no redriven one."""
    try:
        return _type_of(record) not in wanted and not record.topic.endswith(REDRIVE)
    except PermanentFailure:
        return False


def _type_of(record: Record) -> str:
    """Returns the event type. Raises PermanentFailure if it is unknown or belongs to another topic."""
    type_name = record.header("ce_type")
    if not type_name:
        raise PermanentFailure("missing header ce_type")
    if type_name not in EVENT_TYPES:
        raise PermanentFailure(f"unknown event type {type_name[:100]!r}")
    own_topic, topic = EVENT_TYPES[type_name].TOPIC, event_topic(record.topic)
    if own_topic != topic:
        raise PermanentFailure(f"{type_name} belongs to the topic {own_topic}, not to {topic}")
    return type_name
