"""Recovers from failed batches and from crashes, so that one bad record stops no other.

A batch that fails permanently is bisected until the bad record is alone; after any other failure its records are
retried one by one. A record that keeps failing is parked. During an outage everything waits and nothing is parked.
After a crash, records are processed one at a time until the record that caused it is known (crash_loop.py).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from itertools import chain, repeat
from typing import TypeVar
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.consumer import spans
from chassis.consumer.crash_loop import MAX_CRASHES, CrashMarkers, SharedLock, WorkerCrashed
from chassis.consumer.offsets import BatchCounts, Offsets, Partition
from chassis.consumer.parking import Failed, park
from chassis.consumer.retry import RetryBudget, Stopped, pause, wait_out_outages
from chassis.database import Database, driver
from chassis.errors import FailureClass, classify
from chassis.events.decoding import Decoded
from chassis.events.record import Record
from chassis.masking import describe

CLEAR_SECONDS = 2.0

SETTLED = """
    SELECT event_id, asked FROM inbox JOIN unnest($2::uuid[], $3::smallint[]) AS ids (id, asked) ON event_id = id
    WHERE consumer = $1 AND (status = 'applied' OR redrive >= asked)
"""

T = TypeVar("T")
Lock = Callable[[], AbstractAsyncContextManager[None]]

log = structlog.get_logger()

Result = tuple[Record, Decoded]
"""A record and what it was decoded to; None for an event type without a handler."""


class Recovery:
    """Runs `apply`, which applies records in one transaction, and handles its failures."""

    def __init__(
        self,
        consumer: str,
        database: Database,
        offsets: Offsets,
        decode: Callable[[Sequence[Record]], Awaitable[list[Result]]],
        apply: Callable[[Sequence[Result]], Awaitable[None]],
        is_unwanted: Callable[[Record], bool],
    ) -> None:
        self._consumer = consumer
        self._database = database
        self._offsets = offsets
        self._decode = decode
        self._apply = apply
        self._is_unwanted = is_unwanted
        self._lock = SharedLock()
        self._crash_markers = CrashMarkers(consumer, database, self._lock)

    @property
    def is_searching_for_culprit(self) -> bool:
        """True while records are processed one at a time because a process crashed."""
        return self._crash_markers.is_searching

    async def apply_or_bisect(self, records: Sequence[Record], stop: asyncio.Event) -> None:
        """Decodes the records once, and applies them as one batch or, if that fails, in smaller ones, in order."""
        await self._bisect(await self._wait_out_outage(partial(self._decode, records), stop), stop)

    async def _bisect(self, results: Sequence[Result], stop: asyncio.Event) -> None:
        try:
            await self._wait_out_outage(partial(self._apply, results), stop)
            return
        except Stopped:
            raise
        except Exception as error:
            log.info("batch_failed", records=len(results), error=describe(error))
            spans.failed([record for record, _ in results], error)
            failed = error
        if classify(failed) is not FailureClass.PERMANENT:
            for record, _ in results:
                await self._apply_alone(record, stop, self._lock.shared)
        elif len(results) == 1:
            await self._park(Failed(results[0][0], failed), stop)
        else:
            middle = len(results) // 2
            await self._bisect(results[:middle], stop)
            await self._bisect(results[middle:], stop)

    async def process_individually_after_crash(
        self, records: Sequence[Record], stop: asyncio.Event
    ) -> Sequence[Record]:
        """Returns the records still to process: all of them, unless a crashed process left a marker."""
        while records:
            mark = partial(self._crash_markers.mark_in_progress, records)
            await wait_out_outages(mark, stop, self._consumer)
            if not self._crash_markers.is_searching:
                return records
            records = await self._process_individually(records, stop)
        return []

    async def clear_crash_markers(self, partitions: Sequence[Partition]) -> None:
        """Clears the crash markers of partitions that were revoked cleanly. Gives up after CLEAR_SECONDS."""
        clearing = asyncio.create_task(self._clear(partitions))
        await asyncio.wait({clearing}, timeout=CLEAR_SECONDS)

    async def _process_individually(self, records: Sequence[Record], stop: asyncio.Event) -> Sequence[Record]:
        """Processes records one at a time; returns those that are left once the culprit is known."""
        log.warning("processing_individually", records=len(records), **records[0].log_fields)
        unsettled = await self._wait_out_outage(partial(self._without_settled, records), stop)
        for number, record in enumerate(unsettled):
            if not self._crash_markers.is_searching:
                return unsettled[number:]
            if self._crash_markers.is_culprit(record):
                await self._park(Failed(record, WorkerCrashed(), MAX_CRASHES), stop)
                await self._wait_out_outage(partial(self._crash_markers.end_search, record), stop)
                return unsettled[number + 1 :]
            await self._apply_alone(record, stop, self._marked(record))
            self._crash_markers.count(record)
        await self._wait_out_outage(partial(self._crash_markers.end_search_if_over, records[0]), stop)
        return []

    async def _apply_alone(self, record: Record, stop: asyncio.Event, lock: Lock) -> None:
        """Applies one record, retries it within its budget, and parks it when the budget is exhausted."""
        budget = RetryBudget()

        async def attempt() -> None:
            async with lock():
                if stop.is_set():
                    raise Stopped
                await budget.attempt(self._decode_and_apply(record))

        while True:
            try:
                await wait_out_outages(attempt, stop, self._consumer)
                return
            except Stopped:
                raise
            except Exception as error:
                spans.failed([record], error)
                if budget.is_exhausted(error):
                    failed = Failed(record, error, budget.attempts, budget.first_attempt_at)
                    await self._park(failed, stop)
                    return
            await pause(budget.backoff_seconds, stop)

    async def _decode_and_apply(self, record: Record) -> None:
        await self._apply(await self._decode([record]))

    def _marked(self, record: Record) -> Lock:
        """Only the first attempt counts as a crash: a record that failed with an error did not crash its process."""
        counts_as_crash = chain([True], repeat(False))
        return lambda: self._crash_markers.alone_in_progress(record, next(counts_as_crash))

    async def _wait_out_outage(self, work: Callable[[], Awaitable[T]], stop: asyncio.Event) -> T:
        """Runs the work, concurrently with other partitions, and repeats it while a dependency is down."""

        async def locked() -> T:
            async with self._lock.shared():
                if stop.is_set():
                    raise Stopped
                return await work()

        return await wait_out_outages(locked, stop, self._consumer)

    async def _park(self, failed: Failed, stop: asyncio.Event) -> None:
        """Parks one record in its own transaction."""
        await self._wait_out_outage(partial(self._park_in_transaction, failed), stop)

    async def _park_in_transaction(self, failed: Failed) -> None:
        record, counts = failed.record, BatchCounts(received=1)
        partition, next_offset = (record.topic, record.partition), record.offset + 1
        async with self._database.transaction() as db:
            parked = await park(db, self._consumer, [failed])
            counts.parked = len(parked)
            counts.duplicates = 1 - counts.parked
            await self._offsets.advance(db, partition, next_offset, counts)
        self._offsets.committed(partition, next_offset, counts)
        spans.parked((each.record, each.error) for each in parked)
        spans.settled([record], "duplicate", is_redelivered=True)  # if it was not parked

    async def _without_settled(self, records: Sequence[Record]) -> list[Record]:
        """Returns the records that have a handler and that the inbox would not ignore; counts the ignored ones."""
        first, partition = records[0].offset, (records[0].topic, records[0].partition)
        records = [record for record in records if not self._is_unwanted(record)]
        ids = [(record.event_id, record.redrive) for record in records]
        async with self._database.transaction() as db:
            done = await _settled(db, self._consumer, [(key, redrive) for key, redrive in ids if key])
            unsettled = [record for record in records if (record.event_id, record.redrive) not in done]
            duplicates = len(records) - len(unsettled)
            counts = BatchCounts(received=duplicates, duplicates=duplicates)
            if duplicates:
                await self._offsets.advance(db, partition, first, counts)
        self._offsets.committed(partition, 0, counts)
        kept = {record.offset for record in unsettled}
        spans.settled((each for each in records if each.offset not in kept), "duplicate", is_redelivered=True)
        return unsettled

    async def _clear(self, partitions: Sequence[Partition]) -> None:
        try:
            await self._crash_markers.clear(partitions)
        except Exception as error:  # the next owner then processes these partitions individually for a while
            log.info("crash_markers_not_cleared", error=describe(error))


async def _settled(
    db: AsyncConnection, consumer: str, events: Iterable[tuple[UUID, int]]
) -> set[tuple[UUID, int]]:
    """Returns those of the `(event id, redrive count)` pairs that `claim` would ignore."""
    ids = list(events)
    columns = [event_id for event_id, _ in ids], [redrive for _, redrive in ids]
    return {(row["event_id"], row["asked"]) for row in await driver(db).fetch(SETTLED, consumer, *columns)}
