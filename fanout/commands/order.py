"""`fanout order`: the timeline of one order across services: its events, and which consumer applied them how soon."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import typer
from rich.console import Console
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from fanout.console import Json, print_json, table
from fanout.databases import Databases, read_each
from fanout.errors import BadUsage, FanoutError
from fanout.running import running

OrderId = Annotated[str, typer.Argument(help="As POST /orders returned it.", show_default=False)]


@dataclass(frozen=True, slots=True)
class PublishedEvent:
    """An event as its service's outbox has it; `published_at` is None until the relay has sent it."""

    service: str
    event_id: UUID
    topic: str
    type: str
    version: int
    created_at: datetime
    published_at: datetime | None


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    consumer: str
    event_id: UUID
    status: Literal["applied", "parked"]
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Step:
    """One event, the consumers that received it, and those that subscribe to it and have not received it yet."""

    event: PublishedEvent
    received: Sequence[ReceivedEvent]
    waiting: Sequence[str]

    def milliseconds(self, received: ReceivedEvent) -> int:
        return _milliseconds(self.event.created_at, received.received_at)


def command(order_id: OrderId, json_output: Json = False) -> None:
    """Show every event of an order, and which consumer applied it after how many milliseconds.

    Example: fanout order 019a2f6c-0d1e-7a3b-9c4d-5e6f70819203
    """
    wanted = parsed(order_id)
    steps = asyncio.run(timeline(running().databases, wanted))
    if not steps:
        raise FanoutError(f"no service has published an event of order {wanted}")
    if json_output:
        print_json(as_json(wanted, steps))
    else:
        show(wanted, steps, Console())


def parsed(order_id: str) -> UUID:
    try:
        return UUID(order_id)
    except ValueError:
        raise BadUsage(f"'{order_id}' is not an order id: it is a UUID, as POST /orders returns it") from None


async def timeline(databases: Databases, order_id: UUID) -> list[Step]:
    """Returns the order's events, the oldest first; none if no service has published one."""

    events: list[PublishedEvent] = []
    received: list[ReceivedEvent] = []
    subscriptions: set[tuple[str, str, str]] = set()

    async def read_published(service: str, db: AsyncConnection) -> None:
        rows = await db.execute(_PUBLISHED, {"order_id": str(order_id)})
        events.extend(PublishedEvent(service, *row) for row in rows)

    async def read_received(_: str, db: AsyncConnection) -> None:
        rows = await db.execute(_RECEIVED, {"event_ids": [event.event_id for event in events]})
        received.extend(ReceivedEvent(*row) for row in rows)
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


def show(order_id: object, steps: Sequence[Step], console: Console) -> None:
    placed_at = steps[0].event.created_at
    console.print(f"order {order_id}, placed {placed_at:%Y-%m-%d %H:%M:%S} UTC", highlight=False)
    rows = [row for each in steps for row in _rows(each, placed_at)]
    console.print(table((">after", "service", "event", "applied by", ">ms later"), rows, unbroken=("after",)))


def _rows(step: Step, placed_at: datetime) -> Iterator[tuple[object, ...]]:
    """Yields a line for each consumer; the event is named in the first."""
    consumers: list[tuple[str, object]] = [
        (each.consumer + ("" if each.status == "applied" else f" ({each.status})"), step.milliseconds(each))
        for each in step.received
    ]
    consumers += [(name, "not yet") for name in step.waiting]
    event = f"{_milliseconds(placed_at, step.event.created_at)} ms", step.event.service, step.event.type
    for number, consumer in enumerate(consumers or [("", "")]):
        yield *(("", "", "") if number else event), *consumer


def as_json(order_id: object, steps: Iterable[Step]) -> dict[str, Any]:
    def received(step: Step) -> list[dict[str, Any]]:
        return [
            {"consumer": each.consumer, "status": each.status, "milliseconds": step.milliseconds(each)}
            for each in step.received
        ]

    events = [
        asdict(step.event) | {"received": received(step), "waiting": list(step.waiting)} for step in steps
    ]
    return {"order_id": order_id, "events": events}


def _milliseconds(start: datetime, end: datetime) -> int:
    return round((end - start).total_seconds() * 1000)


_PUBLISHED = text("""
    SELECT event_id, topic, type, aggregate_version, created_at, published_at
    FROM outbox WHERE aggregate_id = :order_id AND type IS NOT NULL
""")
_RECEIVED = text("SELECT consumer, event_id, status, received_at FROM inbox WHERE event_id = ANY(:event_ids)")
_SUBSCRIPTIONS = text("SELECT consumer, topic, type FROM subscriptions")
