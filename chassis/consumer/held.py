"""Holds partitions that cannot be read on: shown in log, metrics, health page and database, and retried regularly.

aiokafka cannot read a batch that is corrupt or unpacks to too many bytes (fetching.py). Such a batch stops its own
partition only.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import structlog
from sqlalchemy import BigInteger, Column, DateTime, Integer, PrimaryKeyConstraint, Table, Text, func
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.consumer.offsets import Partition
from chassis.database import Database, driver, metadata
from chassis.liveness import running_seconds
from chassis.masking import describe
from chassis.telemetry import metrics

RETRY_SECONDS = 30.0

held_partitions = Table(
    "held_partitions",
    metadata,
    Column("consumer", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("kafka_offset", BigInteger, nullable=False),
    Column("error", Text, nullable=False),
    Column("since", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    PrimaryKeyConstraint("consumer", "topic", "partition"),
)

HOLD = """
    INSERT INTO held_partitions (consumer, topic, partition, kafka_offset, error) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (consumer, topic, partition) DO UPDATE SET kafka_offset = excluded.kafka_offset, error = excluded.error
"""
RELEASE = """
    DELETE FROM held_partitions USING unnest($2::text[], $3::int[]) AS released (topic, partition)
    WHERE consumer = $1 AND held_partitions.topic = released.topic AND held_partitions.partition = released.partition
"""

log = structlog.get_logger()

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class UnreadableBatch:
    """Takes the place of the records of a batch that aiokafka cannot read."""

    offset: int
    error: Exception


class HeldPartitions:
    """The held partitions of one session; the other partitions are not affected."""

    def __init__(self, consumer: str, database: Database) -> None:
        self._consumer = consumer
        self._database = database
        self._retry_at: dict[Partition, float] = {}
        self._reasons: dict[Partition, str] = {}

    def may_be_read(self, partition: Partition) -> bool:
        """Returns False for a held partition, except every RETRY_SECONDS."""
        return running_seconds() >= self._retry_at.get(partition, 0.0)

    async def update(self, partition: Partition, fetched: Sequence[R | UnreadableBatch]) -> None:
        """Holds the partition if the fetched records end with an unreadable batch; releases it otherwise."""
        if isinstance(last := fetched[-1], UnreadableBatch):
            await self.hold(partition, last.offset, last.error)
        else:
            await self.release(partition)

    async def hold(self, partition: Partition, offset: int, error: Exception) -> None:
        """Stops reading this partition at this offset."""
        if partition not in self._reasons:
            topic, number = partition
            log.error("partition_held", topic=topic, partition=number, offset=offset, error=describe(error))
        self._retry_at[partition] = running_seconds() + RETRY_SECONDS
        self._reasons[partition] = f"at offset {offset}: {describe(error)}"
        metrics.HELD.labels(self._consumer, *map(str, partition)).set(1)
        with suppress(Exception):  # the log has it too, and the next retry writes the row again
            async with self._database.transaction() as db:
                await driver(db).execute(HOLD, self._consumer, *partition, offset, describe(error))

    async def release(self, partition: Partition) -> None:
        """Resumes reading the partition, if it is held: its records have arrived."""
        if self._reasons.pop(partition, None) is None:
            return
        del self._retry_at[partition]
        metrics.HELD.remove(self._consumer, *map(str, partition))
        with suppress(Exception):
            async with self._database.transaction() as db:
                await release_rows(db, self._consumer, [partition])

    def clear(self) -> None:
        """Removes all partitions from memory and metrics, because they were revoked."""
        self._retry_at.clear()
        self._reasons.clear()
        metrics.HELD.clear()

    def described(self) -> list[str]:
        return [f"{topic}[{number}] {reason}" for (topic, number), reason in self._reasons.items()]


def readable(fetched: Iterable[R | UnreadableBatch]) -> list[R]:
    """Returns the records before an unreadable batch, or all."""
    return [each for each in fetched if not isinstance(each, UnreadableBatch)]


async def release_rows(db: AsyncConnection, consumer: str, partitions: Iterable[Partition]) -> None:
    """Deletes the rows that say that these partitions are held."""
    columns = [list(column) for column in zip(*partitions, strict=True)] or [[], []]
    await driver(db).execute(RELEASE, consumer, *columns)
