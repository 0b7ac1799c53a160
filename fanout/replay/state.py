"""The books of one service: cleared for a read model, compared before and after for any other."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.consumer.crash_loop import crash_markers
from chassis.consumer.inbox import inbox
from chassis.consumer.offsets import consumer_offsets
from chassis.consumer.parking import parked
from chassis.retention import CLOCKS_DIFFER, complete_since, purges
from chassis.service import Service
from fanout.databases import session, snapshot
from fanout.errors import BadUsage
from fanout.replay.history import Offsets

ADVISORY_LOCK = 0x7265706C6179
BOOKS = (inbox, consumer_offsets, parked, crash_markers)


@dataclass(frozen=True)
class Books:
    """All of one moment. The counts are sums over all partitions; `receipts` are those of applied events."""

    at: datetime
    next_offsets: Offsets
    counts: Mapping[str, int]
    receipts: int
    last_parked: int

    @property
    def surplus(self) -> int:
        """Events handed to reactions, beyond the receipts for them."""
        return self.counts["applied"] - self.receipts


@asynccontextmanager
async def locked(service: str, url: str) -> AsyncIterator[AsyncConnection]:
    """One replay of a service at a time, from whatever machine: a session lock in its own database."""
    async with session(service, url) as db:
        async with db.begin():
            if not await db.scalar(select(func.pg_try_advisory_lock(ADVISORY_LOCK))):
                raise BadUsage(f"another replay of {service} is running: wait for it")
        yield db


async def receipts_since(db: AsyncConnection) -> datetime | None:
    async with db.begin():
        return await complete_since(db, "inbox")


async def clear(db: AsyncConnection, service: Service, since: datetime | None) -> None:
    """Everything at once, so that whoever reads meanwhile sees all of it or nothing.

    Events from before `since` will not come again; that is noted where the ledger looks for it.
    """
    async with db.begin():
        for table in reversed(service.metadata.sorted_tables):
            await db.execute(delete(table))
        for table in BOOKS:
            await db.execute(delete(table).where(table.c.consumer == service.name))
        await db.execute(delete(purges).where(purges.c.what == "inbox"))
        if since:
            note = {"what": "inbox", "before": since + CLOCKS_DIFFER, "forgotten": 0}
            await db.execute(insert(purges), [note])


async def read(consumer: str, url: str) -> Books:
    async with snapshot(consumer, url) as db:
        rows = (
            (await db.execute(select(consumer_offsets).where(consumer_offsets.c.consumer == consumer)))
            .mappings()
            .all()
        )
        mine = (inbox.c.consumer == consumer) & (inbox.c.status == "applied")
        kept = await db.scalar(select(func.count()).select_from(inbox).where(mine))
        gone = await db.scalar(select(func.sum(purges.c.forgotten)).where(purges.c.what == "inbox"))
        return Books(
            at=(await db.execute(select(func.clock_timestamp()))).scalar_one(),
            next_offsets={(row["topic"], row["partition"]): row["next_offset"] for row in rows},
            counts={
                count: sum(row[count] for row in rows)
                for count in ("received", "applied", "duplicates", "parked")
            },
            receipts=(kept or 0) + int(gone or 0),
            last_parked=await db.scalar(select(func.max(parked.c.id))) or 0,
        )
