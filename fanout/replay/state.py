"""The consumer state of one service: cleared for a read model, compared before and after for any other service."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.consumer.crash_loop import crash_markers
from chassis.consumer.ignored import ignored_events
from chassis.consumer.inbox import inbox
from chassis.consumer.offsets import consumer_offsets
from chassis.consumer.parking import parked
from chassis.outbox.table import outbox
from chassis.retention import CLOCKS_DIFFER, complete_since, purges
from chassis.service import Service
from fanout.databases import Databases, read_each, session, snapshot
from fanout.errors import BadUsage
from fanout.kafka_admin import Offsets

ADVISORY_LOCK = 0x7265706C6179
AT_ONCE = 10_000
STATE_TABLES = (inbox, consumer_offsets, parked, crash_markers, ignored_events)


@dataclass(frozen=True)
class ConsumerSnapshot:
    """The state of one consumer at one point in time. Counts are sums over all partitions."""

    at: datetime
    next_offsets: Offsets
    counts: Mapping[str, int]
    receipts: int
    """Of applied events, purged ones included."""
    last_parked: int

    @property
    def excess(self) -> int:
        """Events handed to handlers, beyond the receipts for them."""
        return self.counts["applied"] - self.receipts


@asynccontextmanager
async def locked(service: str, url: str) -> AsyncIterator[AsyncConnection]:
    """Allows one replay of a service at a time, from whatever machine: a session lock in its own database."""
    async with session(service, url) as db:
        async with db.begin():
            if not await db.scalar(select(func.pg_try_advisory_lock(ADVISORY_LOCK))):
                raise BadUsage(f"another replay of {service} is running: wait for it")
        yield db


async def clock(db: AsyncConnection) -> datetime:
    """Returns Postgres' time."""
    async with db.begin():
        now: datetime = (await db.execute(select(func.clock_timestamp()))).scalar_one()
        return now


async def receipts_since(db: AsyncConnection) -> datetime | None:
    async with db.begin():
        return await complete_since(db, "inbox")


async def clear(db: AsyncConnection, service: Service, since: datetime | None) -> None:
    """Deletes all rows and the consumer state in one transaction, so that readers see all of it or nothing.

    Events from before `since` will not come again: that is recorded in `purges`, where `fanout verify` looks for it.
    """
    async with db.begin():
        for table in reversed(service.metadata.sorted_tables):
            await db.execute(delete(table))
        for table in STATE_TABLES:
            await db.execute(delete(table).where(table.c.consumer == service.name))
        await db.execute(delete(purges).where(purges.c.what == "inbox"))
        if since:
            purge = {"what": "inbox", "before": since + CLOCKS_DIFFER, "purged": 0}
            await db.execute(insert(purges), [purge])


async def read(consumer: str, url: str) -> ConsumerSnapshot:
    async with snapshot(consumer, url) as db:
        mine = select(consumer_offsets).where(consumer_offsets.c.consumer == consumer)
        rows = (await db.execute(mine)).mappings().all()
        applied = (inbox.c.consumer == consumer) & (inbox.c.status == "applied")
        kept = await db.scalar(select(func.count()).select_from(inbox).where(applied))
        purged = await db.scalar(select(func.sum(purges.c.purged)).where(purges.c.what == "inbox"))
        return ConsumerSnapshot(
            at=(await db.execute(select(func.clock_timestamp()))).scalar_one(),
            next_offsets={(row["topic"], row["partition"]): row["next_offset"] for row in rows},
            counts={
                count: sum(row[count] for row in rows)
                for count in ("received", "applied", "duplicates", "parked")
            },
            receipts=(kept or 0) + int(purged or 0),
            last_parked=await db.scalar(select(func.max(parked.c.id))) or 0,
        )


@dataclass(frozen=True)
class ReappliedEvent:
    topic: str
    partition: int | None
    offset: int | None
    what: str

    def __str__(self) -> str:
        return f"{self.what} ({self.topic} {self.partition} at {self.offset})"

    def was_behind(self, state: ConsumerSnapshot) -> bool:
        """Returns True if the consumer had already passed this event."""
        if self.partition is None or self.offset is None:
            return False
        return self.offset < state.next_offsets.get((self.topic, self.partition), 0)


async def not_ignored(consumer: str, databases: Databases, before: ConsumerSnapshot) -> list[str]:
    """Describes the events that were applied or parked since `before` although the consumer had passed them.

    Leaves out redriven events. Receipts have no offsets; the outbox that an event came from says where it is.
    """
    async with snapshot(consumer, databases[consumer]) as db:
        new = select(inbox.c.event_id).where(
            inbox.c.consumer == consumer,
            inbox.c.status == "applied",
            inbox.c.redrive == 0,
            inbox.c.received_at >= before.at,
        )
        applied = list((await db.execute(new)).scalars())
        columns = (parked.c.topic, parked.c.partition, parked.c.kafka_offset, parked.c.type)
        new_parked = select(*columns).where(parked.c.consumer == consumer, parked.c.id > before.last_parked)
        found = [ReappliedEvent(*row[:3], f"{row[3]} parked") for row in await db.execute(new_parked)]

    async def published(_: str, db: AsyncConnection) -> list[ReappliedEvent]:
        return [
            ReappliedEvent(*row[:3], f"{row[3]} of {row[4]} applied")
            for start in range(0, len(applied), AT_ONCE)
            for row in await db.execute(
                _ORIGINS.where(outbox.c.event_id.in_(applied[start : start + AT_ONCE]))
            )
        ]

    for events in await read_each(databases, published):
        found += events
    return sorted(str(event) for event in found if event.was_behind(before))


_ORIGINS = select(
    outbox.c.topic, outbox.c.kafka_partition, outbox.c.kafka_offset, outbox.c.type, outbox.c.aggregate_id
)
