"""Finds the message that kills: memory, a segfault, a SIGKILL leave no exception that could be caught.

A worker leaves a mark when it begins with a partition, and takes it back when it gives the partition up. One that
finds its predecessor's mark knows that somebody died, but not of what. From then on it has one record in hand in the
whole process, and marks that one before it reads it; a record that fails, waits for an outage or succeeds is
unmarked. So only a record that was alone in hand at the death of its process is suspected of it. What three
processes did not survive is parked unread; then the culprit is known, and the process goes on as usual.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from time import monotonic

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

from chassis.consumer.turns import Turns
from chassis.database import Database, metadata
from chassis.errors import PermanentFailure
from chassis.events.record import Record

STARTS = 3

crash_markers = Table(
    "crash_markers",
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
    """A mark: how many processes have died while they had the record at this offset in hand, perhaps with others."""

    kafka_offset: int
    times: int


LARGEST_BATCH = 500
CAREFUL_SECONDS = 10.0
"""So long at most is a partition suspected that has fewer records than that."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A predecessor's mark, and the records of the first batch after its death."""

    found: Start
    first: int
    last: int
    since: float = field(default_factory=monotonic)

    def is_over(self, done: Record) -> bool:
        """Returns True once every record has been in hand alone that may have been in hand with others at the death."""
        is_past = done.offset - self.first + 1 >= LARGEST_BATCH
        return is_past or monotonic() - self.since > CAREFUL_SECONDS

    def deaths(self, record: Record) -> int:
        if record.offset == self.found.kafka_offset:
            return self.found.times
        were_together = self.found.times == 1 and self.first <= self.found.kafka_offset <= self.last
        return 1 if were_together and record.offset <= self.last else 0


class Starts:
    """One consumer's marks. They cost nothing but for the first batch of each partition, unless somebody has died."""

    def __init__(self, consumer: str, database: Database, turns: Turns) -> None:
        self._consumer = consumer
        self._database = database
        self._turns = turns
        self._begun: set[Partition] = set()
        self._suspicions: dict[Partition, Suspicion] = {}
        self._unmarked: dict[Partition, Start] = {}
        self._culprit_is_known = False

    @property
    def someone_died(self) -> bool:
        """Whether records must be processed one by one, for a culprit may be among them."""
        return bool(self._suspicions)

    async def begin(self, records: Sequence[Record]) -> None:
        """Leaves a mark at the first of these records before any of them is read, or finds a predecessor's."""
        partition = _partition(records[0])
        if partition in self._begun or partition in self._suspicions:
            return
        async with self._database.transaction() as db:
            found = await self._noted(db, partition)
            if found is None or (self._culprit_is_known and found.times <= 1):
                await self._write(db, partition, Start(records[0].offset, 1))
                self._begun.add(partition)
                return
        self._suspicions[partition] = Suspicion(found, records[0].offset, records[-1].offset)
        self._unmarked[partition] = found

    def is_culprit(self, record: Record) -> bool:
        return self._deaths(record) >= STARTS

    @asynccontextmanager
    async def in_hand(self, record: Record, suspected: bool) -> AsyncIterator[None]:
        """Holds everything else in this process up. If it ends in here, it was this record, when `suspected`."""
        async with self._turns.alone():
            unmarked = self._unmarked[_partition(record)] = Start(record.offset, self._deaths(record))
            await self._mark(record, Start(record.offset, unmarked.times + suspected))
            try:
                yield
            except Exception:
                await self._unmark(record, unmarked)
                raise
            await self._unmark(record, unmarked)

    async def exonerate(self, records: Sequence[Record]) -> None:
        """Ends the suspicion when these records, which are done, are the last of those that may be the culprit."""
        suspicion = self._suspicions.get(_partition(records[0]))
        if suspicion and suspicion.is_over(records[-1]):
            await self._remove([_partition(records[0])])

    async def convict(self, record: Record) -> None:
        """The record is parked; nothing else is suspected of what it did."""
        await self._remove([_partition(record)])
        self._begun.add(_partition(record))
        self._suspicions.clear()
        self._culprit_is_known = True

    async def forget(self, partitions: Iterable[Partition]) -> None:
        """Others go on with them: nobody has died here, but for those whose culprit is not yet known."""
        named = list(partitions)
        self._culprit_is_known = False
        open_cases = [partition for partition in named if partition in self._suspicions]
        async with self._database.transaction() as db:
            for partition in open_cases:
                await self._write(db, partition, self._unmarked[partition])
        await self._remove([partition for partition in named if partition not in open_cases])
        for partition in open_cases:
            del self._suspicions[partition]

    def _deaths(self, record: Record) -> int:
        suspicion = self._suspicions.get(_partition(record))
        return suspicion.deaths(record) if suspicion else 0

    async def _mark(self, record: Record, start: Start) -> None:
        async with self._database.transaction() as db:
            await self._write(db, _partition(record), start)

    async def _unmark(self, record: Record, unmarked: Start) -> None:
        """If the database is away, the mark stays until the next try; on a record that is done it means nothing."""
        with suppress(Exception):
            await self._mark(record, unmarked)

    async def _remove(self, partitions: Sequence[Partition]) -> None:
        async with self._database.transaction() as db:
            await db.execute(delete(crash_markers).where(*self._of(partitions)))
        self._begun.difference_update(partitions)
        for partition in partitions:
            self._suspicions.pop(partition, None)

    async def _noted(self, db: AsyncConnection, partition: Partition) -> Start | None:
        found = await db.execute(
            select(crash_markers.c.kafka_offset, crash_markers.c.times).where(*self._of([partition]))
        )
        row = found.one_or_none()
        return Start(*row) if row else None

    async def _write(self, db: AsyncConnection, partition: Partition, start: Start) -> None:
        row = {"consumer": self._consumer, "topic": partition[0], "partition": partition[1], **asdict(start)}
        upsert = insert(crash_markers).values(row)
        await db.execute(
            upsert.on_conflict_do_update(constraint=crash_markers.primary_key, set_=asdict(start))
        )

    def _of(self, partitions: Sequence[Partition]) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
        mine = crash_markers.c.consumer == self._consumer
        return mine, tuple_(crash_markers.c.topic, crash_markers.c.partition).in_(partitions)


def _partition(record: Record) -> Partition:
    return record.topic, record.partition
