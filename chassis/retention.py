"""Purges rows that are over: receipts, sent outbox rows, and what a service declares beside its tables. Records it.

Settings say for how many days they are kept: `retention_days` for what recognizes a repetition, `closed_days` for rows
whose work is done, and the sum of both for what a consumer keeps of a message that it parked. What is open is kept at
any age; a table that nothing is declared for is kept for ever. docs/retention.md lists all tables.

The table `purges` has the cutoff up to which each table was purged. Before it `fanout verify` has nothing to compare,
and a replay would apply again what the inbox has no row of; both read `complete_since` first.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy import BigInteger, Column, DateTime, Table, Text, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.config import Settings
from chassis.database import Database, metadata
from chassis.purging import Retention, delete, has_no_time
from chassis.timestamps import is_set_within, now

EVERY_SECONDS = 3600.0
CLOCKS_DIFFER = timedelta(seconds=1)
"""The producer sets an event's time and the database that of its inbox row; their clocks may differ by so much."""

log = structlog.get_logger()


async def run(
    database: Database, settings: Settings, stop: asyncio.Event, declared: Sequence[Retention] = ()
) -> None:
    """Purges every hour until `stop` is set. After a database error it waits for the next hour."""
    repeated, closed = timedelta(days=settings.retention_days), timedelta(days=settings.closed_days)
    ages = ((REPETITIONS, repeated), (declared, closed), (PARKED, closed + repeated))
    while not stop.is_set():
        try:
            for retentions, age in ages:
                for table, rows in (await purge(database, now() - age, stop, retentions)).items():
                    log.info("rows_purged", table=table, rows=rows)
        except (SQLAlchemyError, OSError) as error:
            log.warning("purge_failed", error=error)
        await is_set_within(EVERY_SECONDS, stop)


async def purge(
    database: Database, cutoff: datetime, stop: asyncio.Event, retentions: Sequence[Retention] | None = None
) -> dict[str, int]:
    """Deletes what was over before `cutoff`, by default what recognizes repetitions. Returns the rows by table."""
    purged: Counter[str] = Counter()
    for retention in REPETITIONS if retentions is None else retentions:
        async for rows in delete(database, retention, cutoff, cutoff + CLOCKS_DIFFER, stop):
            purged.update(rows)
    return dict(purged)


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


def _receipts(over: str) -> tuple[Retention, Retention]:
    """Returns the retention of inbox rows: of those whose event id carries a time, and of the others.

    An old event may have a young receipt, which is kept: its record may still be in Kafka.
    """
    by_id = Retention(
        "inbox",
        "event_id",
        each="consumer",
        over=f"received_at < :before AND {over}",
        counted="status = 'applied'",  # `purged` explains why an event was applied and has no receipt
    )
    by_time = replace(
        by_id, key="received_at", made_at="received_at", each=None, within=has_no_time("event_id")
    )
    return by_id, by_time


REPETITIONS = (
    *_receipts("status = 'applied' AND redrive = 0"),
    Retention(
        "outbox",
        "id",
        made_at="created_at",
        over="created_at < :before AND coalesce(published_at, discarded_at) < :before",
    ),
    Retention(
        "idempotency_keys",
        "created_at",
        made_at="created_at",
        over="created_at < :before",
    ),
    Retention(
        "relay_terms",
        "term",
        made_at="renewed_at",
        over="renewed_at < :before AND term < (SELECT max(term) FROM relay_terms)",
    ),
)
"""What recognizes a repetition, or says that it has been sent. Outbox rows that were not sent are kept at any age."""

PARKED = (
    *_receipts("(status = 'parked' OR redrive > 0)"),
    Retention(
        "parked",
        "id",
        made_at="last_failed_at",
        over="""last_failed_at < :before AND (
            coalesce(octet_length(key), 0) + coalesce(octet_length(value), 0) + octet_length(headers) < 1000000
            OR EXISTS (
                SELECT FROM inbox
                WHERE (inbox.consumer, inbox.event_id, inbox.status) = (parked.consumer, parked.event_id, 'applied')
            ))""",
    ),
)
"""What a consumer has of the messages that it parked. It is not told what became of the dead letter, which is kept with
its bytes by its own service as long as it is open. By then Kafka and outboxes do not have the message any more: it is
sent again only if an operator redrives it, and that needs no row here. What may be too large for a dead letter is kept
until its event was applied."""
