"""What must not happen: an event that a service had behind it was not ignored when it came once more."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select

from chassis.consumer.inbox import inbox
from chassis.consumer.parking import parked
from chassis.outbox.table import outbox
from fanout.databases import snapshot
from fanout.replay.state import Books

Databases = Mapping[str, str]


@dataclass(frozen=True)
class Heard:
    topic: str
    partition: int | None
    offset: int | None
    what: str

    def lies_behind(self, books: Books) -> bool:
        if self.partition is None or self.offset is None:
            return False
        return self.offset < books.next_offsets.get((self.topic, self.partition), 0)


async def not_ignored(consumer: str, databases: Databases, before: Books) -> list[str]:
    """What it has applied or parked since, though it had that behind it: a sentence's worth of each.

    What somebody redrove meanwhile is left out. Receipts know no offsets, but each is of an event, and the outbox
    it came from says where that lies.
    """
    async with snapshot(consumer, databases[consumer]) as db:
        new = select(inbox.c.event_id).where(
            inbox.c.consumer == consumer,
            inbox.c.status == "applied",
            inbox.c.redrive == 0,
            inbox.c.received_at >= before.at,
        )
        applied = list((await db.execute(new)).scalars())
        aside = select(parked.c.topic, parked.c.partition, parked.c.kafka_offset, parked.c.type)
        rows = await db.execute(aside.where(parked.c.consumer == consumer, parked.c.id > before.last_parked))
        heard = [Heard(*row[:3], f"{row[3]} parked") for row in rows]
    for of_one in await asyncio.gather(*(_published(*each, applied) for each in databases.items())):
        heard += of_one
    return sorted(_told(each) for each in heard if each.lies_behind(before))


async def _published(service: str, url: str, event_ids: list[UUID]) -> list[Heard]:
    if not event_ids:
        return []
    columns = (
        outbox.c.topic,
        outbox.c.kafka_partition,
        outbox.c.kafka_offset,
        outbox.c.type,
        outbox.c.aggregate_id,
    )
    async with snapshot(service, url) as db:
        return [
            Heard(*row[:3], f"{row[3]} of {row[4]} applied")
            for chunk in _chunks(event_ids)
            for row in await db.execute(select(*columns).where(outbox.c.event_id.in_(chunk)))
        ]


def _chunks(event_ids: list[UUID], size: int = 10_000) -> Iterator[list[UUID]]:
    return (event_ids[start : start + size] for start in range(0, len(event_ids), size))


def _told(heard: Heard) -> str:
    return f"{heard.what} ({heard.topic} {heard.partition} at {heard.offset})"
