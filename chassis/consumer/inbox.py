"""The table `inbox`: one row per event that this consumer has applied or parked.

The row is inserted in the transaction that applies the event, so a redelivered event has no second effect.
"""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    Column,
    DateTime,
    Index,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import driver, metadata
from chassis.purging import has_no_time

inbox = Table(
    "inbox",
    metadata,
    Column("consumer", Text, nullable=False),
    Column("event_id", Uuid, nullable=False),
    Column("status", Text, nullable=False),
    Column("redrive", SmallInteger, nullable=False, server_default="0"),
    Column("received_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    PrimaryKeyConstraint("consumer", "event_id"),
    CheckConstraint("status IN ('applied', 'parked')", name="inbox_status_is_known"),
    Index("inbox_received_at", "received_at", postgresql_using="brin"),
    Index("inbox_other_ids", "received_at", postgresql_where=text(has_no_time("event_id"))),
)

# An applied event is never claimed again, a parked one once per redrive. When another transaction has claimed the
# event and not yet committed, the statement waits for it, and returns no row if it commits.
CLAIM = """
    INSERT INTO inbox AS mine (consumer, event_id, status, redrive)
    SELECT $1, event_id, 'applied', redrive FROM unnest($2::uuid[], $3::smallint[]) AS claims (event_id, redrive)
    ON CONFLICT (consumer, event_id) DO UPDATE
        SET status = 'applied', redrive = excluded.redrive, received_at = clock_timestamp()
        WHERE mine.status = 'parked' AND excluded.redrive > mine.redrive
    RETURNING event_id
"""


async def claim(db: AsyncConnection, consumer: str, events: Iterable[tuple[UUID, int]]) -> set[UUID]:
    """Claims `(event id, redrive count)` pairs for the caller's transaction; returns the ids to apply.

    These were never seen before, or parked and redriven since. Call it before anything is written. Ids must not repeat.
    """
    claims = sorted(dict(events).items())  # in the order of ids, so that two transactions cannot deadlock
    if not claims:
        return set()
    columns = [list(column) for column in zip(*claims, strict=True)]
    return {row["event_id"] for row in await driver(db).fetch(CLAIM, consumer, *columns)}
