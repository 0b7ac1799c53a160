"""Purges rows older than `retention_days`: inbox rows, sent outbox rows and idempotency keys. Records that it did so.

The table `purges` has the cutoff up to which each table was purged. Before it `fanout verify` has nothing to compare,
and a replay would apply again what the inbox has no row of; both read `complete_since` first.
"""

import asyncio
from datetime import datetime, timedelta

import structlog
from sqlalchemy import BigInteger, Column, DateTime, Table, Text, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.config import Settings
from chassis.database import Database, metadata
from chassis.timestamps import is_set_within, now

EVERY_SECONDS = 3600.0
ROWS_AT_ONCE = 5_000
CLOCKS_DIFFER = timedelta(seconds=1)
"""The producer sets an event's time and the database that of its inbox row; their clocks may differ by so much."""

log = structlog.get_logger()


async def run(database: Database, settings: Settings, stop: asyncio.Event) -> None:
    """Purges every hour until `stop` is set. After a database error it waits for the next hour."""
    while not stop.is_set():
        try:
            cutoff = now() - timedelta(days=settings.retention_days)
            for table, rows in (await purge(database, cutoff, stop)).items():
                log.info("rows_purged", table=table, rows=rows)
        except (SQLAlchemyError, OSError) as error:
            log.warning("purge_failed", error=error)
        await is_set_within(EVERY_SECONDS, stop)


async def purge(database: Database, cutoff: datetime, stop: asyncio.Event) -> dict[str, int]:
    """Deletes rows older than `cutoff`, `ROWS_AT_ONCE` in a transaction. Returns the number of rows by table.

    Rows that another worker is deleting are skipped.
    """
    purged: dict[str, int] = {}
    values = {"cutoff": cutoff, "complete_since": cutoff + CLOCKS_DIFFER, "at_once": ROWS_AT_ONCE}
    for table, old in OLD_ROWS.items():
        statement = text(PURGE.format(table=table, old=old, same=SAME_ROW[table]))
        while not stop.is_set():
            async with database.transaction() as db:
                rows = await db.scalar(statement, values | {"table": table})
            if not rows:
                break
            purged[table] = purged.get(table, 0) + rows
    return purged


async def complete_since(db: AsyncConnection, table: str) -> datetime | None:
    """Returns the time since which the table has all its rows, or None if it was never purged."""
    return await db.scalar(select(purges.c.before).where(purges.c.what == table))


purges = Table(
    "purges",
    metadata,
    Column("what", Text, primary_key=True),
    Column("before", DateTime(timezone=True), nullable=False),
    Column("purged", BigInteger, nullable=False),
)

OLD_ROWS = {
    "inbox": """SELECT consumer, event_id FROM inbox
        WHERE received_at < :cutoff AND status = 'applied' AND redrive = 0 LIMIT :at_once""",
    "outbox": """SELECT id FROM outbox
        WHERE coalesce(published_at, discarded_at) < :cutoff AND id < :at_once + (
            SELECT min(id) FROM outbox WHERE coalesce(published_at, discarded_at) IS NOT NULL)""",
    "idempotency_keys": """SELECT principal, key FROM idempotency_keys
        WHERE created_at < :cutoff LIMIT :at_once""",
}
"""By table, the keys of the rows to delete. Kept for ever are inbox rows of events that were parked, as their dead
letters may be redriven at any time; and outbox rows that were not sent. The relay sends in the order of ids, so the
oldest outbox rows have the smallest."""

PURGE = """
    WITH old AS ({old} FOR UPDATE SKIP LOCKED),
    deleted AS (DELETE FROM {table} USING old WHERE {same} RETURNING 1)
    INSERT INTO purges AS earlier (what, before, purged)
    SELECT :table, :complete_since, count(*) FROM deleted HAVING count(*) > 0
    ON CONFLICT (what) DO UPDATE SET
        before = greatest(earlier.before, excluded.before), purged = earlier.purged + excluded.purged
    RETURNING (SELECT count(*) FROM deleted)
"""
SAME_ROW = {
    "inbox": "(inbox.consumer, inbox.event_id) = (old.consumer, old.event_id)",
    "outbox": "outbox.id = old.id",
    "idempotency_keys": "(idempotency_keys.principal, idempotency_keys.key) = (old.principal, old.key)",
}
