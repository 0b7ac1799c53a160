"""Which events this consumer has had: the row that makes a redelivery harmless, in the effect's own transaction."""

from collections.abc import Iterable, Mapping
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
)
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import driver, metadata

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
)

# A parked event is taken up once per redrive, an applied one never again. One that loses a race with
# another transaction waits for it and then returns no row.
CLAIM = """
    INSERT INTO inbox AS mine (consumer, event_id, status, redrive)
    SELECT $1, event_id, 'applied', redrive FROM unnest($2::uuid[], $3::smallint[]) AS claims (event_id, redrive)
    ON CONFLICT (consumer, event_id) DO UPDATE
        SET status = 'applied', redrive = excluded.redrive, received_at = clock_timestamp()
        WHERE mine.status = 'parked' AND excluded.redrive > mine.redrive
    RETURNING event_id
"""

# Returns also what was parked before, and changes it only if the redrive count is higher.
MARK_PARKED = """
    INSERT INTO inbox AS mine (consumer, event_id, status, redrive)
    SELECT $1, event_id, 'parked', redrive FROM unnest($2::uuid[], $3::smallint[]) AS ids (event_id, redrive)
    ON CONFLICT (consumer, event_id) DO UPDATE
        SET redrive = greatest(mine.redrive, excluded.redrive),
            received_at = CASE WHEN excluded.redrive > mine.redrive THEN clock_timestamp() ELSE mine.received_at END
        WHERE mine.status = 'parked'
    RETURNING event_id
"""

SETTLED = """
    SELECT event_id, asked FROM inbox JOIN unnest($2::uuid[], $3::smallint[]) AS ids (id, asked) ON event_id = id
    WHERE consumer = $1 AND (status = 'applied' OR redrive >= asked)
"""


async def claim(db: AsyncConnection, consumer: str, events: Iterable[tuple[UUID, int]]) -> set[UUID]:
    """Takes `(event id, redrive count)` pairs; returns the ids that are new to this consumer.

    Must be the first statement of the transaction that applies them. Ids must not repeat.
    """
    claims = dict(events)
    if not claims:
        return set()
    return {row["event_id"] for row in await driver(db).fetch(CLAIM, consumer, *_columns(claims))}


async def mark_parked(db: AsyncConnection, consumer: str, events: Iterable[tuple[UUID, int]]) -> set[UUID]:
    """Remembers `(event id, redrive count)` pairs as parked; returns their ids but for those that have been applied."""
    highest = dict(sorted(events))
    if not highest:
        return set()
    return {row["event_id"] for row in await driver(db).fetch(MARK_PARKED, consumer, *_columns(highest))}


async def settled(
    db: AsyncConnection, consumer: str, events: Iterable[tuple[UUID, int]]
) -> set[tuple[UUID, int]]:
    """Returns those of the `(event id, redrive count)` pairs that this consumer would ignore."""
    ids = list(events)
    columns = [event_id for event_id, _ in ids], [redrive for _, redrive in ids]
    return {(row["event_id"], row["asked"]) for row in await driver(db).fetch(SETTLED, consumer, *columns)}


def _columns(redrives: Mapping[UUID, int]) -> tuple[list[UUID], list[int]]:
    """By id, so that two transactions that name the same ones cannot wait for each other."""
    event_ids = sorted(redrives)
    return event_ids, [redrives[event_id] for event_id in event_ids]
