"""The table `subscriptions`: the event types a service handles, for `fanout verify` and other commands to read."""

from sqlalchemy import Column, PrimaryKeyConstraint, Table, Text, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import metadata
from chassis.retention import purges
from chassis.service import Service
from chassis.timestamps import now

DROPPED = "subscription to "
"""With an event type after it, in `purges`: since when the service has no handler for the type any more.

There are still receipts of such events; receipts of a type whose subscription went in another way are an error."""

subscriptions = Table(
    "subscriptions",
    metadata,
    Column("consumer", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("topic", Text, nullable=False),
    PrimaryKeyConstraint("consumer", "type"),
)


async def record_subscriptions(db: AsyncConnection, service: Service) -> bool:
    """Makes the table equal to the service's handlers; returns True if it was different."""
    wanted = {(service.name, event_type.NAME, event_type.TOPIC) for event_type in service.handlers}
    found = {(row.consumer, row.type, row.topic) for row in await db.execute(select(subscriptions))}
    if wanted == found:
        return False
    await db.execute(delete(subscriptions))
    await _record_dropped(db, {row[1] for row in found}, {row[1] for row in wanted})
    if wanted:
        rows = [dict(zip(("consumer", "type", "topic"), row, strict=True)) for row in sorted(wanted)]
        await db.execute(insert(subscriptions), rows)
    return True


async def _record_dropped(db: AsyncConnection, found: set[str], wanted: set[str]) -> None:
    await db.execute(delete(purges).where(purges.c.what.in_([DROPPED + name for name in wanted])))
    rows = [{"what": DROPPED + name, "before": now(), "purged": 0} for name in sorted(found - wanted)]
    if rows:
        await db.execute(insert(purges).on_conflict_do_nothing(), rows)
