"""Gathers an order's events from every outbox, and from every inbox who has applied them."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import text

from fanout.databases import snapshot

_SAID = text("""
    SELECT event_id, topic, type, aggregate_version, created_at, published_at
    FROM outbox WHERE aggregate_id = :order_id AND type IS NOT NULL
""")
_HEARD = text("SELECT consumer, event_id, status, received_at FROM inbox WHERE event_id = ANY(:event_ids)")
_LISTENING = text("SELECT consumer, topic, type FROM subscriptions")


@dataclass(frozen=True, slots=True)
class Said:
    """An event as its service's outbox has it; `published_at` is None until the relay has sent it."""

    service: str
    event_id: UUID
    topic: str
    type: str
    version: int
    created_at: datetime
    published_at: datetime | None


@dataclass(frozen=True, slots=True)
class Heard:
    consumer: str
    event_id: UUID
    status: Literal["applied", "parked"]
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Step:
    """One event, by whom it was heard, and who listens to it but has not heard it yet."""

    said: Said
    heard: Sequence[Heard]
    waiting: Sequence[str]


async def history(databases: Mapping[str, str], order_id: UUID) -> list[Step]:
    """In the order in which it was said; empty if nobody ever spoke of the order."""
    said = await asyncio.gather(*(_said(service, url, order_id) for service, url in databases.items()))
    events = sorted((event for part in said for event in part), key=lambda event: event.created_at)
    ids = [event.event_id for event in events]
    parts = await asyncio.gather(*(_heard(service, url, ids) for service, url in databases.items()))
    heard = sorted(
        (hearing for part, _ in parts for hearing in part), key=lambda hearing: hearing.received_at
    )
    listening = {subscription for _, part in parts for subscription in part}
    return [_step(event, heard, listening) for event in events]


def _step(said: Said, heard: Iterable[Heard], listening: Iterable[tuple[str, str, str]]) -> Step:
    by = [hearing for hearing in heard if hearing.event_id == said.event_id]
    listeners = {consumer for consumer, topic, type in listening if (topic, type) == (said.topic, said.type)}
    return Step(said, by, sorted(listeners - {hearing.consumer for hearing in by}))


async def _said(service: str, url: str, order_id: UUID) -> list[Said]:
    async with snapshot(service, url) as db:
        return [Said(service, *row) for row in await db.execute(_SAID, {"order_id": str(order_id)})]


async def _heard(
    service: str, url: str, event_ids: Sequence[UUID]
) -> tuple[list[Heard], list[tuple[str, str, str]]]:
    async with snapshot(service, url) as db:
        heard = [Heard(*row) for row in await db.execute(_HEARD, {"event_ids": event_ids})]
        return heard, [(row[0], row[1], row[2]) for row in await db.execute(_LISTENING)]
