"""The table `subscriptions`: the event types a service handles, for `fanout verify` and other commands to read."""

from sqlalchemy import Column, PrimaryKeyConstraint, Table, Text, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import metadata
from chassis.service import Service

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
    if wanted:
        rows = [dict(zip(("consumer", "type", "topic"), row, strict=True)) for row in sorted(wanted)]
        await db.execute(insert(subscriptions), rows)
    return True
