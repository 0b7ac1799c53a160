"""Loads and stores a consumer's offsets in its own database, at each assignment of partitions.

The database may have lost commits (a failover, a restore) that Kafka has an offset for. So a partition is read from
the lower of both offsets, and the inbox ignores what is read again.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping

import structlog

from chassis.consumer.catch_up import CatchUp
from chassis.consumer.held import release_rows
from chassis.consumer.offsets import Partition
from chassis.database import Database, driver
from chassis.masking import describe

STORE_SECONDS = 2.0

NEXT_OFFSETS = "SELECT topic, partition, next_offset FROM consumer_offsets WHERE consumer = $1"
# A batch without events for this consumer opens no transaction, so its offset is stored only here.
STORE = """
    UPDATE consumer_offsets SET next_offset = greatest(consumer_offsets.next_offset, reached.next_offset)
    FROM unnest($2::text[], $3::int[], $4::bigint[]) AS reached (topic, partition, next_offset)
    WHERE consumer = $1 AND consumer_offsets.topic = reached.topic AND consumer_offsets.partition = reached.partition
"""

log = structlog.get_logger()


class Positions:
    """One consumer's positions in its partitions. `handled`: the event types that it has a handler for."""

    def __init__(self, consumer: str, database: Database, handled: Collection[str]) -> None:
        self.consumer = consumer
        self.database = database
        self.catch_up = CatchUp(consumer, database, handled)

    async def load(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """Returns the next offsets of those partitions that have one, and marks none of the partitions as held."""
        assigned = set(partitions)
        async with self.database.transaction() as db:
            await release_rows(db, self.consumer, assigned)
            rows = await driver(db).fetch(NEXT_OFFSETS, self.consumer)
        offsets = {(row["topic"], row["partition"]): row["next_offset"] for row in rows}
        return {partition: offset for partition, offset in offsets.items() if partition in assigned}

    async def store(self, reached: Mapping[Partition, int | None]) -> None:
        """Stores how far each revoked partition was read. Gives up after STORE_SECONDS."""
        storing = asyncio.create_task(self._store(reached))
        await asyncio.wait({storing}, timeout=STORE_SECONDS)

    async def _store(self, reached: Mapping[Partition, int | None]) -> None:
        ends = [(*partition, offset) for partition, offset in reached.items() if offset is not None]
        columns = [list(column) for column in zip(*ends, strict=True)] or [[], [], []]
        try:
            async with self.database.transaction() as db:
                await driver(db).execute(STORE, self.consumer, *columns)
                await release_rows(db, self.consumer, reached)
        except Exception as error:  # the next owner then reads some records again
            log.info("positions_not_stored", error=describe(error))
