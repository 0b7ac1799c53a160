"""Forgets what is older than any topic: receipts, sent outbox rows, answered keys. And remembers that it did.

`purges` says up to when each table was emptied. Before that moment the ledger has nothing to compare, and a
replay would apply again what the inbox has forgotten; so both look here first.
"""

import asyncio
from datetime import datetime, timedelta

import structlog
from sqlalchemy import BigInteger, Column, DateTime, Table, Text, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.config import Settings
from chassis.database import Database, metadata
from chassis.timestamps import now

EVERY_SECONDS = 3600.0
AT_ONCE = 5_000
CLOCKS_DIFFER = timedelta(seconds=1)
"""An event's time is its maker's, its receipt's that of the database; they may disagree by so much."""

purges = Table(
    "purges",
    metadata,
    Column("what", Text, primary_key=True),
    Column("before", DateTime(timezone=True), nullable=False),
    Column("forgotten", BigInteger, nullable=False),
)

log = structlog.get_logger()

OLD = {
    "inbox": """SELECT consumer, event_id FROM inbox
        WHERE received_at < :before AND status = 'applied' AND redrive = 0 LIMIT :at_once""",
    "outbox": """SELECT id FROM outbox
        WHERE coalesce(published_at, discarded_at) < :before AND id < :at_once + (
            SELECT min(id) FROM outbox WHERE coalesce(published_at, discarded_at) IS NOT NULL)""",
    "idempotency_keys": "SELECT key FROM idempotency_keys WHERE created_at < :before LIMIT :at_once",
}
"""By table, the keys of rows that may go. The receipt of an event that was ever parked stays: its dead letter is kept
for ever and may be redriven again. So does what was not sent yet. The relay sends in the order of ids, so the oldest
outbox rows are at the beginning of the key."""

_FORGET = """
    WITH old AS ({old} FOR UPDATE SKIP LOCKED),
    gone AS (DELETE FROM {table} USING old WHERE {same} RETURNING 1)
    INSERT INTO purges AS earlier (what, before, forgotten)
    SELECT :table, :complete_since, count(*) FROM gone HAVING count(*) > 0
    ON CONFLICT (what) DO UPDATE SET
        before = greatest(earlier.before, excluded.before), forgotten = earlier.forgotten + excluded.forgotten
    RETURNING (SELECT count(*) FROM gone)
"""
_SAME = {
    "inbox": "(inbox.consumer, inbox.event_id) = (old.consumer, old.event_id)",
    "outbox": "outbox.id = old.id",
    "idempotency_keys": "idempotency_keys.key = old.key",
}


async def run(database: Database, settings: Settings, stop: asyncio.Event) -> None:
    """Every hour, until told to stop. An outage puts it off to the next hour."""
    while not stop.is_set():
        try:
            before = now() - timedelta(days=settings.retention_days)
            for table, rows in (await forget(database, before, stop)).items():
                log.info("forgotten", table=table, rows=rows)
        except (SQLAlchemyError, OSError) as error:
            log.warning("not_cleaned_up", error=f"{type(error).__name__}: {error}"[:300])
        try:
            async with asyncio.timeout(EVERY_SECONDS):
                await stop.wait()
        except TimeoutError:
            continue


async def forget(database: Database, before: datetime, stop: asyncio.Event) -> dict[str, int]:
    """By table, how many older rows were deleted, in transactions of `AT_ONCE` rows each.

    Rows that another worker is deleting are left to it.
    """
    forgotten: dict[str, int] = {}
    where = {"before": before, "complete_since": before + CLOCKS_DIFFER, "at_once": AT_ONCE}
    for table, old in OLD.items():
        statement = text(_FORGET.format(table=table, old=old, same=_SAME[table]))
        while not stop.is_set():
            async with database.transaction() as db:
                rows = await db.scalar(statement, where | {"table": table})
            if not rows:
                break
            forgotten[table] = forgotten.get(table, 0) + rows
    return forgotten


async def complete_since(db: AsyncConnection, what: str) -> datetime | None:
    """Rows of that table about events from before this moment may be gone; None if none ever was deleted."""
    return await db.scalar(select(purges.c.before).where(purges.c.what == what))
