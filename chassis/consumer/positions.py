"""Where a consumer stands, as its own database has it: the offset in Kafka only spares some repeats.

The database can have lost commits (a failover, a restore) after Kafka was told. So a partition is read from the lower
of both, and the inbox ignores what comes again. A partition that cannot be read on is kept here for operators to see.
"""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress

import structlog
from sqlalchemy import BigInteger, Column, DateTime, Integer, PrimaryKeyConstraint, Table, Text, func
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.consumer.outages import short
from chassis.database import Database, driver, metadata

LEAVE_SECONDS = 2.0

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

NEXT_OFFSETS = "SELECT topic, partition, next_offset FROM consumer_offsets WHERE consumer = $1"
# Records that are nobody's here advance nothing when they are skipped, so that costs no transaction.
ADVANCE = """
    UPDATE consumer_offsets SET next_offset = greatest(consumer_offsets.next_offset, reached.next_offset)
    FROM unnest($2::text[], $3::int[], $4::bigint[]) AS reached (topic, partition, next_offset)
    WHERE consumer = $1 AND consumer_offsets.topic = reached.topic AND consumer_offsets.partition = reached.partition
"""
HOLD = """
    INSERT INTO held_partitions (consumer, topic, partition, kafka_offset, error) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (consumer, topic, partition) DO UPDATE SET kafka_offset = excluded.kafka_offset, error = excluded.error
"""
RELEASE = """
    DELETE FROM held_partitions USING unnest($2::text[], $3::int[]) AS released (topic, partition)
    WHERE consumer = $1 AND held_partitions.topic = released.topic AND held_partitions.partition = released.partition
"""

Partition = tuple[str, int]

log = structlog.get_logger()


class Positions:
    """One consumer's rows in `consumer_offsets` and `held_partitions`."""

    def __init__(self, consumer: str, database: Database) -> None:
        self.consumer = consumer
        self._database = database

    async def take(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """Returns the next offsets of those partitions that have one; nothing is known to hold them any more."""
        taken = set(partitions)
        async with self._database.transaction() as db:
            await self._release(db, taken)
            rows = await driver(db).fetch(NEXT_OFFSETS, self.consumer)
        places = {(row["topic"], row["partition"]): row["next_offset"] for row in rows}
        return {place: offset for place, offset in places.items() if place in taken}

    async def leave(self, reached: Mapping[Partition, int | None]) -> None:
        """Notes how far each partition was read before others go on with it. Tries for a while only."""
        noting = asyncio.create_task(self._leave(reached))
        await asyncio.wait({noting}, timeout=LEAVE_SECONDS)

    async def hold(self, partition: Partition, offset: int, error: Exception) -> None:
        """Shows that this partition cannot be read on at this offset."""
        with suppress(
            Exception
        ):  # the log says it, too, and it is tried again with the next attempt to read on
            async with self._database.transaction() as db:
                await driver(db).execute(HOLD, self.consumer, *partition, offset, short(error))

    async def release(self, partition: Partition) -> None:
        with suppress(Exception):
            async with self._database.transaction() as db:
                await self._release(db, [partition])

    async def _leave(self, reached: Mapping[Partition, int | None]) -> None:
        ends = [(*place, offset) for place, offset in reached.items() if offset is not None]
        columns = [list(column) for column in zip(*ends, strict=True)] or [[], [], []]
        try:
            async with self._database.transaction() as db:
                await driver(db).execute(ADVANCE, self.consumer, *columns)
                await self._release(db, reached)
        except Exception as error:  # whoever comes next reads some records again, that is all
            log.info("positions_not_noted", error=short(error))

    async def _release(self, db: AsyncConnection, partitions: Iterable[Partition]) -> None:
        columns = [list(column) for column in zip(*partitions, strict=True)] or [[], []]
        await driver(db).execute(RELEASE, self.consumer, *columns)
