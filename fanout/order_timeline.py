"""Reads the timeline of one order from all databases: its events, and what each consumer did with them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.outbox.table import UnreadableHeaders, load_headers
from chassis.telemetry.trace_context import trace_id_of
from fanout.databases import Databases, read_each


@dataclass(frozen=True, slots=True)
class PublishedEvent:
    """An event as its service's outbox has it; `published_at` is None until the relay has sent it.

    `error` is why it cannot be sent, "" if it can.
    """

    service: str
    event_id: UUID
    topic: str
    type: str
    version: int
    created_at: datetime
    published_at: datetime | None
    trace_id: str = ""
    error: str = ""


class Parked(NamedTuple):
    """One time that a consumer parked an event, and why."""

    attempts: int
    last_failed_at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    consumer: str
    event_id: UUID
    status: Literal["applied", "parked"]
    received_at: datetime
    redrive: int = 0
    """How often it was redriven before it was received like this."""
    parked: tuple[Parked, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One event, the consumers that received it, and those that subscribe to it and have not received it yet."""

    event: PublishedEvent
    received: Sequence[ReceivedEvent]
    waiting: Sequence[str]

    def milliseconds(self, received: ReceivedEvent) -> int:
        return milliseconds_later(self.event, received)


def milliseconds_later(event: PublishedEvent, received: ReceivedEvent) -> int:
    """Returns how long after its creation the event was received."""
    return milliseconds(event.created_at, received.received_at)


async def timeline(databases: Databases, order_id: UUID) -> list[Step]:
    """Returns the order's events, the oldest first; none if no service has published one."""

    events: list[PublishedEvent] = []
    received: list[ReceivedEvent] = []
    subscriptions: set[tuple[str, str, str]] = set()

    async def read_published(service: str, db: AsyncConnection) -> None:
        for row in await db.execute(_PUBLISHED, {"order_id": str(order_id)}):
            events.append(
                PublishedEvent(
                    service,
                    row.event_id,
                    row.topic,
                    row.type,
                    row.aggregate_version,
                    row.created_at,
                    row.published_at,
                    _trace_id(row.headers),
                    row.error,
                )
            )

    async def read_received(_: str, db: AsyncConnection) -> None:
        of_these = {"event_ids": [event.event_id for event in events]}
        parked: dict[tuple[str, UUID], list[Parked]] = {}
        for row in await db.execute(_PARKED, of_these):
            parked.setdefault((row.consumer, row.event_id), []).append(Parked(*row[2:]))
        for row in await db.execute(_RECEIVED, of_these):
            times = tuple(parked.get((row.consumer, row.event_id), ()))
            received.append(
                ReceivedEvent(row.consumer, row.event_id, row.status, row.received_at, row.redrive, times)
            )
        subscriptions.update((row[0], row[1], row[2]) for row in await db.execute(_SUBSCRIPTIONS))

    await read_each(databases, read_published)
    events.sort(key=lambda event: event.created_at)
    await read_each(databases, read_received)
    received.sort(key=lambda event: event.received_at)
    return [step(event, received, subscriptions) for event in events]


def step(
    event: PublishedEvent, received: Iterable[ReceivedEvent], subscriptions: Iterable[tuple[str, str, str]]
) -> Step:
    mine = [each for each in received if each.event_id == event.event_id]
    listeners = {name for name, topic, type in subscriptions if (topic, type) == (event.topic, event.type)}
    return Step(event, mine, sorted(listeners - {each.consumer for each in mine}))


def _trace_id(headers: str) -> str:
    try:
        found = dict(load_headers(headers)).get("traceparent") or b""
    except UnreadableHeaders:
        return ""
    return trace_id_of(found.decode("ascii", "replace"))


def milliseconds(start: datetime, end: datetime) -> int:
    return round((end - start).total_seconds() * 1000)


_PUBLISHED = text("""
    SELECT event_id, topic, type, aggregate_version, created_at, published_at, headers,
        CASE WHEN set_aside_at IS NULL THEN '' ELSE concat_ws(': ', error_type, error_message) END AS error
    FROM outbox WHERE aggregate_id = :order_id AND type IS NOT NULL
""")
_RECEIVED = text(
    "SELECT consumer, event_id, status, received_at, redrive FROM inbox WHERE event_id = ANY(:event_ids)"
)
_PARKED = text("""
    SELECT consumer, event_id, attempts, last_failed_at, concat_ws(': ', error_type, error_message)
    FROM parked WHERE event_id = ANY(:event_ids) ORDER BY id
""")
_SUBSCRIPTIONS = text("SELECT consumer, topic, type FROM subscriptions")
