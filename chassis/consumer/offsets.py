"""The table `consumer_offsets`: how far a consumer has read each partition, and counts of what became of the records.

Both change in the transaction that applies the records, so they are exact after any crash.
"""

from dataclasses import dataclass

from sqlalchemy import BigInteger, CheckConstraint, Column, Integer, PrimaryKeyConstraint, Table, Text, Uuid
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import telemetry
from chassis.database import driver, metadata

Partition = tuple[str, int]
"""Topic and number; aiokafka's TopicPartition is one."""

COUNTS = ("received", "applied", "duplicates", "parked")

consumer_offsets = Table(
    "consumer_offsets",
    metadata,
    Column("consumer", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("next_offset", BigInteger, nullable=False),
    *(Column(count, BigInteger, nullable=False) for count in COUNTS),
    Column("topic_id", Uuid),
    Column("lost", BigInteger, nullable=False, server_default="0"),
    PrimaryKeyConstraint("consumer", "topic", "partition"),
    CheckConstraint("received = applied + duplicates + parked", name="consumer_offsets_add_up"),
)

ADVANCE = """
    INSERT INTO consumer_offsets AS sofar
        (consumer, topic, partition, next_offset, received, applied, duplicates, parked)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (consumer, topic, partition) DO UPDATE SET
        next_offset = greatest(sofar.next_offset, excluded.next_offset),
        received = sofar.received + excluded.received,
        applied = sofar.applied + excluded.applied,
        duplicates = sofar.duplicates + excluded.duplicates,
        parked = sofar.parked + excluded.parked
"""


@dataclass(slots=True)
class BatchCounts:
    """What became of the records of a transaction; `applied` counts the events that handlers were called with."""

    received: int
    applied: int = 0
    duplicates: int = 0
    parked: int = 0

    def add_to_metrics(self, consumer: str, topic: str) -> None:
        """Adds the counts to the metric `fanout_events`; to be called after the commit."""
        outcomes = {"applied": self.applied, "duplicate": self.duplicates, "parked": self.parked}
        for outcome, count in outcomes.items():
            telemetry.EVENTS.labels(consumer, topic, outcome).inc(count)


async def advance(
    db: AsyncConnection, consumer: str, topic: str, partition: int, next_offset: int, counts: BatchCounts
) -> None:
    """Raises the consumer's offset in this partition to `next_offset`, never lowers it, and adds the counts."""
    values = (getattr(counts, name) for name in COUNTS)
    await driver(db).execute(ADVANCE, consumer, topic, partition, next_offset, *values)
