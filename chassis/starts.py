"""Finds the message that kills: memory, a segfault, a SIGKILL leave no exception that could be caught.

A worker notes where it begins, once per partition that it is given, and takes the note back when it leaves in
good order. One that finds its predecessor's note at the place where it begins itself goes on record by record,
noting each, so that the next death names one. What three of them did not survive is parked unread.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    delete,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import Database, metadata
from chassis.failures import PermanentFailure
from chassis.record import Record

STARTS = 3

starts = Table(
    "starts",
    metadata,
    Column("consumer", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("kafka_offset", BigInteger, nullable=False),
    Column("times", Integer, nullable=False),
    PrimaryKeyConstraint("consumer", "topic", "partition"),
)

Partition = tuple[str, int]


class KilledItsWorker(PermanentFailure):
    """The process ended without a word whenever it handled this message."""

    def __init__(self) -> None:
        super().__init__(
            f"the worker died {STARTS} times while it handled this message; it was not read again"
        )


@dataclass(frozen=True, slots=True)
class Start:
    """How often work was begun at this offset without coming to an end."""

    kafka_offset: int
    times: int

    @property
    def follows_a_death(self) -> bool:
        return self.times > 1

    def convicts(self, record: Record) -> bool:
        return record.offset == self.kafka_offset and self.times > STARTS

    def of(self, record: Record) -> "Start":
        """One that is not yet suspected has begun twice: in the batch that nobody survived, and now."""
        return self if record.offset == self.kafka_offset else Start(record.offset, 2)


class Starts:
    """One consumer's notes. They cost nothing but for the first batch of each partition it is given."""

    def __init__(self, consumer: str, database: Database) -> None:
        self._consumer = consumer
        self._database = database
        self._begun: set[Partition] = set()

    async def begin(self, records: Sequence[Record]) -> Start | None:
        """Notes that these are begun, before any of them is read; None if this partition was begun before."""
        partition = _partition(records[0])
        if partition in self._begun:
            return None
        async with self._database.transaction() as db:
            before = await self._noted(db, partition)
            start = _next(before, records)
            await self._write(db, partition, start)
        self._begun.add(partition)
        return start

    async def suspect(self, record: Record, start: Start) -> None:
        """If this process ends now, it was this record."""
        async with self._database.transaction() as db:
            await self._write(db, _partition(record), start)

    async def forget(self, partitions: Iterable[Partition]) -> None:
        """Whoever comes next: nobody has died here."""
        named = list(partitions)
        self._begun.difference_update(named)
        async with self._database.transaction() as db:
            await db.execute(delete(starts).where(*self._of(named)))

    async def _noted(self, db: AsyncConnection, partition: Partition) -> Start | None:
        found = await db.execute(select(starts.c.kafka_offset, starts.c.times).where(*self._of([partition])))
        row = found.one_or_none()
        return Start(*row) if row else None

    async def _write(self, db: AsyncConnection, partition: Partition, start: Start) -> None:
        row = {"consumer": self._consumer, "topic": partition[0], "partition": partition[1], **asdict(start)}
        upsert = insert(starts).values(row)
        await db.execute(upsert.on_conflict_do_update(constraint=starts.primary_key, set_=asdict(start)))

    def _of(self, partitions: Sequence[Partition]) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
        mine = starts.c.consumer == self._consumer
        return mine, tuple_(starts.c.topic, starts.c.partition).in_(partitions)


def _partition(record: Record) -> Partition:
    return record.topic, record.partition


def _next(before: Start | None, records: Sequence[Record]) -> Start:
    """The note of one who died among these records counts on; any other is of a place that was left behind."""
    if before and records[0].offset <= before.kafka_offset <= records[-1].offset:
        return Start(before.kafka_offset, before.times + 1)
    return Start(records[0].offset, 1)
