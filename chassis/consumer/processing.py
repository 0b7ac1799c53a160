"""One batch, one transaction; if it fails, the same records by halves, until the bad one stands alone."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from functools import partial
from itertools import chain, repeat
from typing import TypeVar

import structlog

from chassis import telemetry
from chassis.consumer.crash_loop import STARTS, KilledItsWorker, Partition, Starts
from chassis.consumer.effects import Effects, Heard, ids
from chassis.consumer.outages import Stopped, pause, short, through_outages
from chassis.consumer.parking import Failed
from chassis.consumer.retry import Tries
from chassis.consumer.turns import Turns
from chassis.database import Database
from chassis.errors import FailureClass, PermanentFailure, classify
from chassis.events.record import Delivery, Record, Unreadable, read
from chassis.events.registry import Registry
from chassis.service import Service

LEAVE_SECONDS = 2.0
NOT_UTF_8 = "\N{REPLACEMENT CHARACTER}"

T = TypeVar("T")
Turn = Callable[[], AbstractAsyncContextManager[None]]

log = structlog.get_logger()


class Processor:
    """Turns records of one partition into effects. The same records twice are one effect."""

    def __init__(self, service: Service, database: Database, registry: Registry) -> None:
        self._service = service
        self._effects = Effects(service, database)
        self._registry = registry
        self._wanted = {event_type.NAME: event_type for event_type in service.handlers}
        self._turns = Turns()
        self._starts = Starts(service.name, database, self._turns)

    async def process(self, records: Sequence[Record], stop: asyncio.Event) -> None:
        """Returns when every record is applied, ignored or parked. Raises Stopped if told to stop before that."""
        with telemetry.BATCH_SECONDS.labels(self._service.name).time():
            while records:
                await through_outages(partial(self._starts.begin, records), stop, self._service.name)
                if not self._starts.someone_died:
                    await self._sift(await self._through(partial(self._read, records), stop), stop)
                    return
                records = await self._individually(records, stop)

    async def leave(self, partitions: Sequence[Partition]) -> None:
        """They go to somebody else in good order."""
        forgetting = asyncio.create_task(self._forget(partitions))
        await asyncio.wait({forgetting}, timeout=LEAVE_SECONDS)

    async def _forget(self, partitions: Sequence[Partition]) -> None:
        try:
            await self._starts.forget(partitions)
        except Exception as error:  # whoever comes next goes carefully, that is all
            log.info("starts_not_forgotten", error=short(error))

    async def _individually(self, records: Sequence[Record], stop: asyncio.Event) -> Sequence[Record]:
        """Processes one record after the other until the culprit is known; returns those that are then left."""
        log.warning("going_carefully", records=len(records), **ids(records[0]))
        fresh = await self._through(partial(self._effects.without_settled, records), stop)
        for number, record in enumerate(fresh):
            if not self._starts.someone_died:
                return fresh[number:]
            if self._starts.is_culprit(record):
                await self._give_up(record, KilledItsWorker(), STARTS, datetime.now(UTC), stop)
                await self._through(partial(self._starts.convict, record), stop)
                return fresh[number + 1 :]
            await self._single(record, stop, self._in_hand(record))
        await self._through(partial(self._starts.exonerate, records), stop)
        return []

    async def _sift(self, heard: Sequence[Heard], stop: asyncio.Event) -> None:
        """In order, whatever fails. Bad luck is nobody's in particular, so then each is tried by itself."""
        try:
            await self._through(partial(self._apply, heard), stop)
            return
        except Stopped:
            raise
        except Exception as error:
            log.info("batch_failed", records=len(heard), error=short(error))
            one_is_bad = classify(error) is FailureClass.PERMANENT
        if one_is_bad and len(heard) > 2:
            middle = len(heard) // 2
            await self._sift(heard[:middle], stop)
            await self._sift(heard[middle:], stop)
            return
        for record, _ in heard:
            await self._single(record, stop, self._turns.shared)

    async def _single(self, record: Record, stop: asyncio.Event, turn: Turn) -> None:
        tries = Tries()

        async def make_a_try() -> None:
            async with turn():
                if stop.is_set():
                    raise Stopped
                await tries.make(self._read_and_apply(record))

        while True:
            try:
                await through_outages(make_a_try, stop, self._service.name)
                return
            except Stopped:
                raise
            except Exception as error:
                if tries.are_over(error):
                    await self._give_up(record, error, tries.count, tries.since, stop)
                    return
            await pause(tries.pause_seconds, stop)

    def _in_hand(self, record: Record) -> Turn:
        """Suspects the record of a death in its first try only: one that has failed in this process did not kill it."""
        suspected = chain([True], repeat(False))
        return lambda: self._starts.in_hand(record, next(suspected))

    async def _through(self, work: Callable[[], Awaitable[T]], stop: asyncio.Event) -> T:
        """Does the work beside that of other partitions, again and again while a dependency is away."""

        async def in_turn() -> T:
            async with self._turns.shared():
                if stop.is_set():
                    raise Stopped
                return await work()

        return await through_outages(in_turn, stop, self._service.name)

    async def _give_up(
        self, record: Record, error: Exception, attempts: int, since: datetime, stop: asyncio.Event
    ) -> None:
        failed = Failed(record, error, attempts, since)
        await self._through(partial(self._effects.park, failed), stop)

    async def _read_and_apply(self, record: Record) -> None:
        await self._apply(await self._read([record]))

    async def _apply(self, heard: Sequence[Heard]) -> None:
        await self._effects.apply(heard, briefly=self._starts.someone_died)

    async def _read(self, records: Sequence[Record]) -> list[Heard]:
        return [(record, await self._read_one(record)) for record in records]

    async def _read_one(self, record: Record) -> Delivery | Unreadable | None:
        heard = await read(record, self._wanted, self._registry)
        if isinstance(heard, Delivery) and any(NOT_UTF_8 in name for name, _ in record.headers):
            return Unreadable(record, PermanentFailure("the name of a header is not UTF-8"))
        return heard
