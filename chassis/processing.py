"""One batch, one transaction; if it fails, the same records by halves, until the bad one stands alone."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import telemetry
from chassis.database import Database
from chassis.failures import FailureClass, classify
from chassis.inbox import claim
from chassis.logs import log_each
from chassis.outages import Stopped, pause, short, through_outages
from chassis.parking import Failed, park
from chassis.progress import Tally, advance
from chassis.record import Delivery, Record, Unreadable, read
from chassis.registry import Registry
from chassis.retries import Tries
from chassis.runs import Run, arrange
from chassis.service import Service
from chassis.starts import STARTS, KilledItsWorker, Partition, Start, Starts

LEAVE_SECONDS = 2.0

T = TypeVar("T")
Heard = tuple[Record, Delivery | Unreadable | None]
"""A record, and what reading it made of it."""

log = structlog.get_logger()


class Processor:
    """Turns records of one partition into effects. The same records twice are one effect."""

    def __init__(self, service: Service, database: Database, registry: Registry) -> None:
        self._service = service
        self._database = database
        self._registry = registry
        self._wanted = {event_type.NAME: event_type for event_type in service.reactions}
        self._starts = Starts(service.name, database)

    async def process(self, records: Sequence[Record], stop: asyncio.Event) -> None:
        """Returns when every record is applied, ignored or parked. Raises Stopped if told to stop before that."""
        with telemetry.BATCH_SECONDS.labels(self._service.name).time():
            start = await self._through(lambda: self._starts.begin(records), stop)
            if start and start.follows_a_death:
                await self._carefully(records, start, stop)
                return
            heard = await self._through(lambda: self._read(records), stop)
            await self._sift(heard, stop)

    async def leave(self, partitions: Sequence[Partition]) -> None:
        """They go to somebody else in good order."""
        forgetting = asyncio.create_task(self._forget(partitions))
        await asyncio.wait({forgetting}, timeout=LEAVE_SECONDS)

    async def _forget(self, partitions: Sequence[Partition]) -> None:
        try:
            await self._starts.forget(partitions)
        except Exception as error:  # whoever comes next goes carefully, that is all
            log.info("starts_not_forgotten", error=short(error))

    async def _carefully(self, records: Sequence[Record], start: Start, stop: asyncio.Event) -> None:
        """One by one, each noted before it is read: should this process die too, it is known of what."""
        log.warning("going_carefully", starts=start.times, suspect=start.kafka_offset, **_ids(records[0]))
        for record in records:
            if start.convicts(record):
                await self._give_up(record, KilledItsWorker(), STARTS, datetime.now(UTC), stop)
                continue
            await self._through(partial(self._starts.suspect, record, start.of(record)), stop)
            await self._single(record, stop)
        await self._through(lambda: self._starts.forget([(records[0].topic, records[0].partition)]), stop)

    async def _sift(self, heard: Sequence[Heard], stop: asyncio.Event) -> None:
        """In order, whatever fails. Bad luck is nobody's in particular, so then each is tried by itself."""
        try:
            await self._through(lambda: self._apply(heard), stop)
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
            await self._single(record, stop)

    async def _single(self, record: Record, stop: asyncio.Event) -> None:
        tries = Tries()
        while True:
            try:
                await self._through(lambda: tries.make(self._read_and_apply(record)), stop)
                return
            except Stopped:
                raise
            except Exception as error:
                if tries.are_over(error):
                    await self._give_up(record, error, tries.count, tries.since, stop)
                    return
            await pause(tries.pause_seconds, stop)

    async def _through(self, work: Callable[[], Awaitable[T]], stop: asyncio.Event) -> T:
        return await through_outages(work, stop, self._service.name)

    async def _give_up(
        self, record: Record, error: Exception, attempts: int, since: datetime, stop: asyncio.Event
    ) -> None:
        async def put_aside() -> None:
            async with self._database.transaction() as db:
                tally = Tally(received=1)
                await self._park(db, [Failed(record, error, attempts, since)], tally)
                await advance(
                    db, self._service.name, record.topic, record.partition, record.offset + 1, tally
                )
            self._count(record.topic, tally)

        await self._through(put_aside, stop)

    async def _read_and_apply(self, record: Record) -> None:
        await self._apply(await self._read([record]))

    async def _read(self, records: Sequence[Record]) -> list[Heard]:
        return [(record, await read(record, self._wanted, self._registry)) for record in records]

    async def _apply(self, heard: Sequence[Heard]) -> None:
        last, incoming = heard[-1][0], [item for _, item in heard if item is not None]
        telemetry.EVENTS.labels(self._service.name, last.topic, "skipped").inc(len(heard) - len(incoming))
        if not incoming:
            return
        tally = Tally(received=len(incoming))
        async with self._database.transaction() as db:
            fresh = await self._claim([item for item in incoming if isinstance(item, Delivery)], db, tally)
            for run in arrange(fresh):
                await self._react(run, db, tally)
            unreadable = [item for item in incoming if isinstance(item, Unreadable)]
            await self._park(db, [Failed(item.record, item.failure) for item in unreadable], tally)
            await advance(db, self._service.name, last.topic, last.partition, last.offset + 1, tally)
        self._count(last.topic, tally)
        log_each(log, "event_applied", fresh, lambda delivery: _ids(delivery.record))

    async def _claim(
        self, deliveries: Sequence[Delivery], db: AsyncConnection, tally: Tally
    ) -> list[Delivery]:
        first_of = {delivery.event_id: delivery for delivery in reversed(deliveries)}
        claims = [(event_id, delivery.record.redrive) for event_id, delivery in first_of.items()]
        new = await claim(db, self._service.name, claims)
        fresh = [item for item in deliveries if item.event_id in new and first_of[item.event_id] is item]
        tally.repeated += len(deliveries) - len(fresh)
        return fresh

    async def _react(self, run: Run, db: AsyncConnection, tally: Tally) -> None:
        telemetry.set_causes({item.event.key: item.record.header("traceparent") for item in run.deliveries})
        events = [delivery.event for delivery in run.deliveries]
        tally.applied += len(events)
        await self._service.reactions[run.event_type](events, db)

    async def _park(self, db: AsyncConnection, failed: Sequence[Failed], tally: Tally) -> None:
        new = await park(db, self._service.name, failed)
        tally.parked += len(new)
        tally.repeated += len(failed) - len(new)
        for each in new:
            log.warning("event_parked", reason=short(each.error), attempts=each.attempts, **_ids(each.record))

    def _count(self, topic: str, tally: Tally) -> None:
        for outcome in ("applied", "repeated", "parked"):
            telemetry.EVENTS.labels(self._service.name, topic, outcome).inc(getattr(tally, outcome))


def _ids(record: Record) -> dict[str, object]:
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "event_id": record.header("ce_id"),
        "order_id": record.header("ce_subject"),
        "trace_id": telemetry.trace_id_of(record.header("traceparent")),
    }
