"""Kafka records, and what each can be decoded to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from uuid import UUID

import schemas
from chassis.errors import PermanentFailure
from chassis.events.topics import REDRIVE
from chassis.telemetry.trace_context import TraceContext, context_in
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
    def trace_context(self) -> TraceContext | None:
        """The context in which the record was created, or None if its headers have no valid one."""
        return context_in(self._by_name)

    @property
    def log_fields(self) -> dict[str, object]:
        """Names the record in a log line."""
        return {
            "topic": self.topic,
            "partition": self.partition,
            "offset": self.offset,
            "event_id": self.header("ce_id"),
            "order_id": self.header("ce_subject"),
            "trace_id": context.trace_id if (context := self.trace_context) else "",
            "span_id": context.span_id if context else "",
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


@dataclass(frozen=True, slots=True)
class IgnoredRecord:
    """A record of an event type that this release does not know, but that is registered for its topic."""

    record: Record
    type: str
