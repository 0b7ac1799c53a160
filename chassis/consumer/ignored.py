"""The table `ignored_events`: events of types that this release does not know, which the consumer has passed over.

A row has the first and the last offset of one type in one partition, so that a later release can read them again
(catch_up.py), and how many there are. Redelivery does not count an event again. The row changes in the transaction of
its batch.
"""

from collections.abc import Sequence

import structlog
from sqlalchemy import BigInteger, Column, DateTime, Integer, PrimaryKeyConstraint, Table, Text, func
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.consumer.offsets import Partition
from chassis.database import driver, metadata
from chassis.events.record import IgnoredRecord

ignored_events = Table(
    "ignored_events",
    metadata,
    Column("consumer", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("type", Text, nullable=False),
    Column("first_offset", BigInteger, nullable=False),
    Column("last_offset", BigInteger, nullable=False),
    Column("events", BigInteger, nullable=False),
    Column("first_at", DateTime(timezone=True), nullable=False),
    Column("last_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    PrimaryKeyConstraint("consumer", "topic", "partition", "type"),
)

RECORD_IGNORED = """
    INSERT INTO ignored_events AS sofar
        (consumer, topic, partition, type, first_offset, last_offset, events, first_at, last_at)
    SELECT $1, $2, $3, type, min(kafka_offset), max(kafka_offset), count(*), min(record_at), max(record_at)
    FROM unnest($4::text[], $5::bigint[], $6::timestamptz[]) AS ignored (type, kafka_offset, record_at) GROUP BY type
    ON CONFLICT (consumer, topic, partition, type) DO UPDATE SET
        first_offset = least(sofar.first_offset, excluded.first_offset),
        last_offset = greatest(sofar.last_offset, excluded.last_offset),
        events = sofar.events + (
            SELECT count(*) FROM unnest($4::text[], $5::bigint[]) AS ignored (type, kafka_offset)
            WHERE ignored.type = sofar.type AND kafka_offset NOT BETWEEN sofar.first_offset AND sofar.last_offset
        ),
        first_at = least(sofar.first_at, excluded.first_at),
        last_at = greatest(sofar.last_at, excluded.last_at),
        updated_at = clock_timestamp()
    RETURNING type, first_offset, xmax = 0 AS is_new
"""

log = structlog.get_logger()


async def record_ignored(
    db: AsyncConnection, consumer: str, partition: Partition, ignored: Sequence[IgnoredRecord]
) -> None:
    """Adds the records of one partition to the table."""
    if not ignored:
        return
    columns = zip(*((each.type, each.record.offset, each.record.at) for each in ignored), strict=True)
    topic, number = partition
    for row in await driver(db).fetch(RECORD_IGNORED, consumer, topic, number, *map(list, columns)):
        if row["is_new"]:
            what = {"topic": topic, "partition": number, "type": row["type"], "offset": row["first_offset"]}
            log.warning("event_type_ignored", **what, reason="this release does not know the type")
