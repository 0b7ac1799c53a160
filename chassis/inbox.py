"""Which events this consumer has had: the row that makes a redelivery harmless, in the effect's own transaction."""

from collections.abc import Iterable, Mapping
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    Uuid,
    bindparam,
    func,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import metadata

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
_claim = text("""
    INSERT INTO inbox AS mine (consumer, event_id, status, redrive)
    SELECT :consumer, event_id, 'applied', redrive FROM unnest(:event_ids, :redrives) AS claims (event_id, redrive)
    ON CONFLICT (consumer, event_id) DO UPDATE
        SET status = 'applied', redrive = excluded.redrive, received_at = clock_timestamp()
        WHERE mine.status = 'parked' AND excluded.redrive > mine.redrive
    RETURNING event_id
""").bindparams(bindparam("event_ids", type_=ARRAY(Uuid)), bindparam("redrives", type_=ARRAY(SmallInteger)))

# Returns also what was parked before, and changes it only if the redrive count is higher.
_mark_parked = text("""
    INSERT INTO inbox AS mine (consumer, event_id, status, redrive)
    SELECT :consumer, event_id, 'parked', redrive FROM unnest(:event_ids, :redrives) AS ids (event_id, redrive)
    ON CONFLICT (consumer, event_id) DO UPDATE
        SET redrive = greatest(mine.redrive, excluded.redrive),
            received_at = CASE WHEN excluded.redrive > mine.redrive THEN clock_timestamp() ELSE mine.received_at END
        WHERE mine.status = 'parked'
    RETURNING event_id
""").bindparams(bindparam("event_ids", type_=ARRAY(Uuid)), bindparam("redrives", type_=ARRAY(SmallInteger)))


async def claim(db: AsyncConnection, consumer: str, events: Iterable[tuple[UUID, int]]) -> set[UUID]:
    """Takes `(event id, redrive count)` pairs; returns the ids that are new to this consumer.

    Must be the first statement of the transaction that applies them. Ids must not repeat.
    """
    claims = dict(events)
    if not claims:
        return set()
    return set((await db.execute(_claim, _columns(consumer, claims))).scalars())


async def mark_parked(db: AsyncConnection, consumer: str, events: Iterable[tuple[UUID, int]]) -> set[UUID]:
    """Remembers `(event id, redrive count)` pairs as parked; returns their ids but for those that have been applied."""
    highest = dict(sorted(events))
    if not highest:
        return set()
    return set((await db.execute(_mark_parked, _columns(consumer, highest))).scalars())


def _columns(consumer: str, redrives: Mapping[UUID, int]) -> dict[str, object]:
    """By id, so that two transactions that name the same ones cannot wait for each other."""
    event_ids = sorted(redrives)
    return {"consumer": consumer, "event_ids": event_ids, "redrives": [redrives[key] for key in event_ids]}
