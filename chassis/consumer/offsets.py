"""The table `consumer_offsets`: how far a consumer has read each partition, and counts of what became of the records.

Both change in the transaction that applies the records, so they are exact after any crash. `lost` counts records that
Kafka deleted before the consumer read them (positions.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import BigInteger, CheckConstraint, Column, Integer, PrimaryKeyConstraint, Table, Text, Uuid
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import driver, metadata
from chassis.errors import InfrastructureFailure
from chassis.telemetry import metrics

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

# No row is returned if the stored offset is lower than $9.
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
        WHERE sofar.next_offset >= $9
    RETURNING xmax = 0 AS is_new
"""


class DatabaseRestored(InfrastructureFailure):
    """The database has an older offset than it had before: it was restored from a backup.

    The records wait until their partition is opened again, at that offset (assignment.py).
    """


@dataclass(slots=True)
class BatchCounts:
    """What became of the records of a transaction; `applied` counts the events that handlers were called with."""

    received: int
    applied: int = 0
    duplicates: int = 0
    parked: int = 0

    def add_to_metrics(self, consumer: str, topic: str) -> None:
        """Adds the counts to the metric `fanout_events`."""
        outcomes = {"applied": self.applied, "duplicate": self.duplicates, "parked": self.parked}
        for outcome, count in outcomes.items():
            metrics.EVENTS.labels(consumer, topic, outcome).inc(count)


class Offsets:
    """One consumer's offsets in its database, and the lowest that each can be unless the database is restored."""

    def __init__(self, consumer: str) -> None:
        self._consumer = consumer
        self._lowest: dict[Partition, int] = {}
        self._replayed_until: Mapping[Partition, int] = {}

    @property
    def lowest(self) -> Mapping[Partition, int]:
        return dict(self._lowest)

    def opened(self, stored: Mapping[Partition, int]) -> None:
        """Remembers what the database has of partitions that are opened."""
        self._lowest.update(stored)

    def replays(self, until: Mapping[Partition, int]) -> None:
        """Remembers how far the partitions that are opened are read again for a replay."""
        self._replayed_until = {**self._replayed_until, **until}

    def replayed_until(self, partition: Partition) -> int:
        """Returns the offset before which records are read again for a replay; 0 without a replay."""
        return self._replayed_until.get(partition, 0)

    async def advance(
        self, db: AsyncConnection, partition: Partition, next_offset: int, counts: BatchCounts
    ) -> None:
        """Raises the offset and adds the counts, in the caller's transaction. Raises DatabaseRestored."""
        await advance(db, self._consumer, *partition, next_offset, counts, self._lowest.get(partition))

    def committed(self, partition: Partition, next_offset: int, counts: BatchCounts) -> None:
        """Remembers the offset and counts the records in the metrics; to be called after the commit."""
        if partition in self._lowest:
            self._lowest[partition] = max(self._lowest[partition], next_offset)
        counts.add_to_metrics(self._consumer, partition[0])


async def advance(
    db: AsyncConnection,
    consumer: str,
    topic: str,
    partition: int,
    next_offset: int,
    counts: BatchCounts,
    lowest: int | None = None,
) -> None:
    """Raises the consumer's offset in this partition to `next_offset`, never lowers it, and adds the counts.

    Raises DatabaseRestored if the offset is lower than `lowest`, or if there is none.
    """
    values = (getattr(counts, name) for name in COUNTS)
    row = (consumer, topic, partition, next_offset, *values)
    is_new = await driver(db).fetchval(ADVANCE, *row, -1 if lowest is None else lowest)
    if is_new is None or (is_new and lowest is not None):
        raise DatabaseRestored(
            f"{topic}[{partition}] was at offset {lowest} or later, and is before that now"
        )
