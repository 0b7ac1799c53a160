"""Opens partitions at the right offset, stores offsets, and notices when what they count in has changed.

The database may have lost commits (a failover, a restore) that Kafka has an offset for, so a partition is read from
the lower of both offsets, and the inbox ignores what is read again. The topic may have been deleted and made anew, and
Kafka may have deleted records that were not read yet (opening.py).
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.consumer.catch_up import CatchUp
from chassis.consumer.held import release_rows
from chassis.consumer.offsets import Partition
from chassis.consumer.opening import Opening, StoredOffset, log_opening, opening
from chassis.database import Database, driver
from chassis.errors import InfrastructureFailure
from chassis.events.kafka_topics import KafkaTopics, KafkaUnavailable, PartitionLog
from chassis.events.topic_ids import record_topic_ids
from chassis.masking import describe
from chassis.telemetry import metrics

STORE_SECONDS = 2.0

STORED = "SELECT topic, partition, next_offset, topic_id, lost FROM consumer_offsets WHERE consumer = $1"
NEW = """
    INSERT INTO consumer_offsets
        (consumer, topic, partition, next_offset, received, applied, duplicates, parked, topic_id, lost)
    SELECT $1, topic, partition, next_offset, 0, 0, 0, 0, topic_id, lost
    FROM unnest($2::text[], $3::int[], $4::bigint[], $5::uuid[], $6::bigint[])
        AS opened (topic, partition, next_offset, topic_id, lost)
    ORDER BY topic, partition
    ON CONFLICT DO NOTHING
"""
CHANGE = """
    UPDATE consumer_offsets
    SET next_offset = opened.next_offset, topic_id = opened.topic_id, lost = consumer_offsets.lost + opened.lost
    FROM unnest($2::text[], $3::int[], $4::bigint[], $5::uuid[], $6::bigint[], $7::bigint[])
        AS opened (topic, partition, next_offset, topic_id, lost, before)
    WHERE consumer = $1 AND consumer_offsets.topic = opened.topic AND consumer_offsets.partition = opened.partition
        AND consumer_offsets.next_offset = opened.before
"""
CLEAR = """
    DELETE FROM {table} USING unnest($2::text[], $3::int[]) AS gone (topic, partition)
    WHERE consumer = $1 AND {table}.topic = gone.topic AND {table}.partition = gone.partition
"""
OF_OFFSETS = ("ignored_events", "crash_markers")
"""Tables whose offsets mean nothing in a topic that was made anew."""
# A batch without events for this consumer opens no transaction, so its offset is stored only here.
STORE = """
    UPDATE consumer_offsets SET next_offset = reached.next_offset
    FROM unnest($2::text[], $3::int[], $4::bigint[], $5::bigint[]) AS reached (topic, partition, next_offset, lowest)
    WHERE consumer = $1 AND consumer_offsets.topic = reached.topic AND consumer_offsets.partition = reached.partition
        AND consumer_offsets.next_offset >= reached.lowest AND consumer_offsets.next_offset < reached.next_offset
"""

log = structlog.get_logger()

Reached = Mapping[Partition, int | None]
Openings = Mapping[Partition, Opening]
StoredOffsets = Mapping[Partition, StoredOffset]
PartitionLogs = Mapping[Partition, PartitionLog]


class Overtaken(InfrastructureFailure):
    """The former owner of a partition has stored an offset meanwhile."""


class Positions:
    """One consumer's positions in its partitions. `handled`: the event types that it has a handler for."""

    def __init__(
        self, consumer: str, database: Database, handled: Collection[str], kafka: KafkaTopics
    ) -> None:
        self.consumer = consumer
        self.database = database
        self.catch_up = CatchUp(consumer, database, handled)
        self._kafka = kafka
        self._refused: dict[Partition, int] = {}

    async def logs(self, partitions: Iterable[Partition]) -> dict[Partition, PartitionLog]:
        """Returns all partitions of these partitions' topics. Raises KafkaUnavailable if one of them is missing."""
        assigned = set(partitions)
        found = await self._kafka.logs(self.consumer, {topic for topic, _ in assigned})
        if missing := assigned - found.keys():
            raise KafkaUnavailable(f"Kafka assigned {sorted(missing)} and does not have them")
        return found

    async def open(self, partitions: Iterable[Partition], logs: PartitionLogs) -> dict[Partition, Opening]:
        """Stores where each partition is opened, and marks none of them as held.

        A consumer that is new to a topic gets an offset in each of its partitions, whoever reads them: what Kafka
        deletes from then on is lost.
        """
        assigned = set(partitions)
        async with self.database.transaction() as db:
            await release_rows(db, self.consumer, assigned)
            stored = await self._stored(db)
            known = {topic for topic, _ in stored}
            opened = {
                each: opening(logs[each], stored.get(each), each[0] in known, self._refused.get(each))
                for each in sorted(assigned)
            }
            others = {each: opening(at, None) for each, at in logs.items() if each[0] not in known}
            await record_topic_ids(driver(db), {topic: at.topic_id for (topic, _), at in logs.items()})
            await self._insert(db, {**others, **opened}, stored, logs)
            await self._change(db, opened, stored, logs)
            await self._clear_offsets(db, [each for each, at in opened.items() if at.is_new_topic])
        for each, at in opened.items():
            self._refused.pop(each, None)
            before = stored[each].lost if each in stored else 0
            metrics.LOST.labels(self.consumer, each[0], str(each[1])).set(before + at.lost)
            log_opening(each, at, logs[each])
        return opened

    async def _insert(
        self, db: AsyncConnection, openings: Openings, stored: StoredOffsets, logs: PartitionLogs
    ) -> None:
        rows = [
            (*each, at.next_offset, logs[each].topic_id, at.lost)
            for each, at in openings.items()
            if each not in stored
        ]
        if rows:
            await driver(db).execute(NEW, self.consumer, *_columns(rows))

    async def _change(
        self, db: AsyncConnection, openings: Openings, stored: StoredOffsets, logs: PartitionLogs
    ) -> None:
        """Writes only what differs: another process may be frozen with a lock on the row of a partition it has lost."""
        rows = [
            (*each, at.next_offset, logs[each].topic_id, at.lost, stored[each].next_offset)
            for each, at in openings.items()
            if each in stored
            and stored[each]
            != replace(stored[each], next_offset=at.next_offset, topic_id=logs[each].topic_id)
        ]
        if rows and await driver(db).execute(CHANGE, self.consumer, *_columns(rows)) != f"UPDATE {len(rows)}":
            raise Overtaken("another worker has just stored an offset of a partition that is opened here")

    def refused(self, offsets: Mapping[Partition, int]) -> None:
        """Remembers that Kafka has no such offsets, for the next opening of these partitions."""
        self._refused.update(offsets)

    async def changes(
        self, ids: Mapping[str, object], lowest: Mapping[Partition, int], reached: Reached
    ) -> str:
        """Returns why the open partitions have to be opened again, or "". Stores how far they were read.

        `ids`: the topics' ids, `lowest`: what the database had, when or after they were opened.
        """
        async with self.database.transaction() as db:
            stored = await self._stored(db)
            behind = {
                each: at
                for each, at in reached.items()
                if at and each in stored and at > stored[each].next_offset
            }
            if behind:
                await self._store(db, behind, lowest)
        for each, offset in lowest.items():
            if each not in stored or stored[each].next_offset < offset:
                return f"the database was restored: {each[0]}[{each[1]}] was at offset {offset} and is before that"
        now = await self._kafka.ids(ids)
        anew = [topic for topic, topic_id in now.items() if topic_id != ids[topic]]
        return f"deleted and made anew: {', '.join(anew)}" if anew else ""

    async def store(self, reached: Reached, lowest: Mapping[Partition, int]) -> None:
        """Stores how far each revoked partition was read. Gives up after STORE_SECONDS.

        `lowest`: what the database had; a lower offset, in a database that was restored, stays as it is.
        """
        storing = asyncio.create_task(self._store_revoked(reached, lowest))
        await asyncio.wait({storing}, timeout=STORE_SECONDS)

    async def _store_revoked(self, reached: Reached, lowest: Mapping[Partition, int]) -> None:
        try:
            async with self.database.transaction() as db:
                await self._store(db, reached, lowest)
                await release_rows(db, self.consumer, reached)
        except Exception as error:  # the next owner then reads some records again
            log.info("positions_not_stored", error=describe(error))

    async def _store(self, db: AsyncConnection, reached: Reached, lowest: Mapping[Partition, int]) -> None:
        rows = [
            (*each, at, lowest[each])
            for each, at in sorted(reached.items())
            if at is not None and each in lowest
        ]
        if rows:
            await driver(db).execute(STORE, self.consumer, *_columns(rows))

    async def _stored(self, db: AsyncConnection) -> dict[Partition, StoredOffset]:
        rows = await driver(db).fetch(STORED, self.consumer)
        return {
            (row["topic"], row["partition"]): StoredOffset(row["next_offset"], row["topic_id"], row["lost"])
            for row in rows
        }

    async def _clear_offsets(self, db: AsyncConnection, partitions: Collection[Partition]) -> None:
        if partitions:
            for table in OF_OFFSETS:
                await driver(db).execute(CLEAR.format(table=table), self.consumer, *_columns(partitions))


def _columns(rows: Iterable[tuple[object, ...]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]
