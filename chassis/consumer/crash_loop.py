"""Finds the message that crashes its worker: running out of memory, a segfault or a SIGKILL raise no exception.

A worker writes a crash marker when it begins with a partition, and clears it when the partition is revoked cleanly.
A worker that finds the marker of another process knows that a process crashed, but not which record was the cause. It
then searches: it processes one record at a time in the whole process and writes a marker for that record before
reading it; the marker is lowered again when the record succeeds, fails with an error or waits for an outage. So a
record collects crashes only if it was the only one in progress. After MAX_CRASHES it is parked unread, and the
worker goes back to batches.
"""

import asyncio
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

from chassis.consumer.offsets import Partition
from chassis.database import Database, metadata
from chassis.errors import PermanentFailure
from chassis.events.record import Record

MAX_CRASHES = 3
MAX_SEARCH_RECORDS = 500
"""The largest batch: this many records may have been in progress together when the process crashed."""
MAX_SEARCH_SECONDS = 10.0
"""Ends the search in a partition that has fewer records than that."""

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


class WorkerCrashed(PermanentFailure):
    """The worker process crashed each time it handled this message."""

    def __init__(self) -> None:
        super().__init__(
            f"the worker crashed {MAX_CRASHES} times while it handled this message; it was not read again"
        )


@dataclass(frozen=True, slots=True)
class CrashMarker:
    """Says how many processes crashed while the record at this offset was in progress, perhaps with others."""

    kafka_offset: int
    times: int


@dataclass(slots=True)
class CrashSearch:
    """The search for the cause of a crash in one partition: the marker found, and the first batch after the crash."""

    found: CrashMarker
    first: int
    last: int
    since: float = field(default_factory=monotonic)
    processed: int = 0

    @property
    def is_over(self) -> bool:
        """True once every record that may have been in progress at the crash was processed alone.

        Records that were settled before the crash do not count: they are read again if their offset was not yet
        committed to Kafka.
        """
        return self.processed >= MAX_SEARCH_RECORDS or monotonic() - self.since > MAX_SEARCH_SECONDS

    def crashes(self, record: Record) -> int:
        """Returns how many crashes this record may have caused."""
        if record.offset == self.found.kafka_offset:
            return self.found.times
        were_together = self.found.times == 1 and self.first <= self.found.kafka_offset <= self.last
        return 1 if were_together and record.offset <= self.last else 0


class CrashMarkers:
    """One consumer's crash markers. Without a crash they cost one transaction per assigned partition."""

    def __init__(self, consumer: str, database: Database, lock: "SharedLock") -> None:
        self._consumer = consumer
        self._database = database
        self._lock = lock
        self._marked: set[Partition] = set()
        self._searches: dict[Partition, CrashSearch] = {}
        self._without_current: dict[Partition, CrashMarker] = {}
        """By partition, the marker to leave behind if the record in progress did not crash the process."""
        self._culprit_is_known = False

    @property
    def is_searching(self) -> bool:
        """True while records must be processed one at a time because one of them may crash the process."""
        return bool(self._searches)

    async def mark_in_progress(self, records: Sequence[Record]) -> None:
        """Writes a marker before the first batch of a partition, or starts a search if a marker is found."""
        partition = _partition(records[0])
        if partition in self._marked or partition in self._searches:
            return
        async with self._database.transaction() as db:
            found = await self._find(db, partition)
            if found is None or (self._culprit_is_known and found.times <= 1):
                await self._write(db, partition, CrashMarker(records[0].offset, 1))
                self._marked.add(partition)
                return
        self._searches[partition] = CrashSearch(found, records[0].offset, records[-1].offset)
        self._without_current[partition] = found

    def is_culprit(self, record: Record) -> bool:
        return self._crashes(record) >= MAX_CRASHES

    @asynccontextmanager
    async def alone_in_progress(self, record: Record, counts_as_crash: bool) -> AsyncIterator[None]:
        """Stops everything else in this process and, if `counts_as_crash`, marks the record while it is processed."""
        async with self._lock.exclusive():
            unmarked = CrashMarker(record.offset, self._crashes(record))
            self._without_current[_partition(record)] = unmarked
            await self._mark(record, CrashMarker(record.offset, unmarked.times + counts_as_crash))
            try:
                yield
            except Exception:
                await self._unmark(record, unmarked)
                raise
            await self._unmark(record, unmarked)

    def count(self, record: Record) -> None:
        """Counts a record that was processed alone."""
        if search := self._searches.get(_partition(record)):
            search.processed += 1

    async def end_search_if_over(self, record: Record) -> None:
        """Ends the search in the record's partition if no record is left there that may be the culprit."""
        search = self._searches.get(_partition(record))
        if search and search.is_over:
            await self._remove([_partition(record)])

    async def end_search(self, culprit: Record) -> None:
        """Ends the search in all partitions: the culprit is parked."""
        await self._remove([_partition(culprit)])
        self._marked.add(_partition(culprit))
        self._searches.clear()
        self._culprit_is_known = True

    async def clear(self, partitions: Iterable[Partition]) -> None:
        """Clears the markers of partitions that were revoked cleanly; the next owner continues unfinished searches."""
        named = list(partitions)
        self._culprit_is_known = False
        unfinished = [partition for partition in named if partition in self._searches]
        async with self._database.transaction() as db:
            for partition in unfinished:
                await self._write(db, partition, self._without_current[partition])
        await self._remove([partition for partition in named if partition not in unfinished])
        for partition in unfinished:
            del self._searches[partition]

    def _crashes(self, record: Record) -> int:
        search = self._searches.get(_partition(record))
        return search.crashes(record) if search else 0

    async def _mark(self, record: Record, marker: CrashMarker) -> None:
        async with self._database.transaction() as db:
            await self._write(db, _partition(record), marker)

    async def _unmark(self, record: Record, unmarked: CrashMarker) -> None:
        """During an outage the marker stays until the next attempt; on a record that is applied it has no effect."""
        with suppress(Exception):
            await self._mark(record, unmarked)

    async def _remove(self, partitions: Sequence[Partition]) -> None:
        async with self._database.transaction() as db:
            await db.execute(delete(crash_markers).where(*self._of(partitions)))
        self._marked.difference_update(partitions)
        for partition in partitions:
            self._searches.pop(partition, None)

    async def _find(self, db: AsyncConnection, partition: Partition) -> CrashMarker | None:
        found = await db.execute(
            select(crash_markers.c.kafka_offset, crash_markers.c.times).where(*self._of([partition]))
        )
        row = found.one_or_none()
        return CrashMarker(*row) if row else None

    async def _write(self, db: AsyncConnection, partition: Partition, marker: CrashMarker) -> None:
        row = {"consumer": self._consumer, "topic": partition[0], "partition": partition[1], **asdict(marker)}
        upsert = insert(crash_markers).values(row)
        await db.execute(
            upsert.on_conflict_do_update(constraint=crash_markers.primary_key, set_=asdict(marker))
        )

    def _of(self, partitions: Sequence[Partition]) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
        of_consumer = crash_markers.c.consumer == self._consumer
        return of_consumer, tuple_(crash_markers.c.topic, crash_markers.c.partition).in_(partitions)


class SharedLock:
    """A lock over everything that one process processes: shared by any number of partitions, or held exclusively.

    Waiters get it in the order in which they asked.
    """

    def __init__(self) -> None:
        self._queue = asyncio.Lock()
        self._holders = 0
        self._is_free = asyncio.Event()
        self._is_free.set()

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        async with self._queue:
            self._holders += 1
            self._is_free.clear()
        try:
            yield
        finally:
            self._holders -= 1
            if not self._holders:
                self._is_free.set()

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        async with self._queue:
            await self._is_free.wait()
            yield


def _partition(record: Record) -> Partition:
    return record.topic, record.partition
