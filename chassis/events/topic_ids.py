"""The table `topic_ids`: the ids of the topics that a service has written or read, and when it first saw each.

A topic that is deleted and made anew has its name and another id, and its offsets begin at 0 again. So an offset says
which record is meant only together with the id of its topic.
"""

from collections.abc import Mapping
from uuid import UUID

import asyncpg
from sqlalchemy import Column, DateTime, PrimaryKeyConstraint, Table, Text, Uuid, func

from chassis.database import metadata

topic_ids = Table(
    "topic_ids",
    metadata,
    Column("topic", Text, nullable=False),
    Column("topic_id", Uuid, nullable=False),
    Column("first_seen_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    PrimaryKeyConstraint("topic", "topic_id"),
)

RECORD = """
    INSERT INTO topic_ids (topic, topic_id) SELECT topic, topic_id FROM unnest($1::text[], $2::uuid[])
        AS seen (topic, topic_id) ORDER BY topic
    ON CONFLICT DO NOTHING
"""
NEWEST = "SELECT DISTINCT ON (topic) topic, topic_id FROM topic_ids ORDER BY topic, first_seen_at DESC"


async def record_topic_ids(connection: asyncpg.Connection, ids: Mapping[str, UUID]) -> None:
    """Adds the ids that were never seen before."""
    await connection.execute(RECORD, list(ids), list(ids.values()))


async def newest_topic_ids(connection: asyncpg.Connection) -> dict[str, UUID]:
    """Returns the id of each topic as it was seen last."""
    return {row["topic"]: row["topic_id"] for row in await connection.fetch(NEWEST)}
