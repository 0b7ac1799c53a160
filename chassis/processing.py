"""One batch, one transaction; if it fails, the same records one by one, so that the bad one shows itself."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import telemetry
from chassis.database import Database
from chassis.failures import FailureClass, classify
from chassis.inbox import claim
from chassis.parking import park
from chassis.progress import Tally, advance
from chassis.record import Delivery, Record, Unreadable, read
from chassis.registry import Registry
from chassis.runs import Run, arrange
from chassis.service import Service

TRIES = 5
RETRY_SECONDS = 0.1
HOLD_SECONDS = 3.0

log = structlog.get_logger()


class Stopped(Exception):
    """The lane was asked to stop while it waited; nothing was decided about the records."""


class Processor:
    """Turns records of one partition into effects. The same records twice are one effect."""

    def __init__(self, service: Service, database: Database, registry: Registry) -> None:
        self._service = service
        self._database = database
        self._registry = registry
        self._wanted = {event_type.NAME: event_type for event_type in service.reactions}

    async def process(self, records: Sequence[Record], stop: asyncio.Event) -> None:
        """Returns when every record is applied, ignored or parked. Raises Stopped if told to stop before that."""
        with telemetry.BATCH_SECONDS.labels(self._service.name).time():
            try:
                await self._through_outages(lambda: self._apply(records), stop)
            except Exception as error:
                if isinstance(error, Stopped):
                    raise
                log.info("batch_replayed_singly", records=len(records), error=_short(error))
                for record in records:
                    await self._single(record, stop)

    async def _single(self, record: Record, stop: asyncio.Event) -> None:
        since, attempt = datetime.now(UTC), 0
        while True:
            attempt += 1
            try:
                await self._through_outages(lambda: self._apply([record]), stop)
                return
            except Exception as error:
                if isinstance(error, Stopped):
                    raise
                if classify(error) is FailureClass.PERMANENT or attempt == TRIES:
                    await self._give_up(record, error, attempt, since, stop)
                    return
            await _pause(random.uniform(0, RETRY_SECONDS * 2**attempt), stop)

    async def _give_up(
        self, record: Record, error: Exception, attempts: int, since: datetime, stop: asyncio.Event
    ) -> None:
        async def put_aside() -> None:
            async with self._database.transaction() as db:
                tally = Tally(received=1)
                await self._park(db, record, error, tally, attempts, since)
                await advance(
                    db, self._service.name, record.topic, record.partition, record.offset + 1, tally
                )
            self._count(record.topic, tally)

        await self._through_outages(put_aside, stop)

    async def _apply(self, records: Sequence[Record]) -> None:
        last, heard = records[-1], [await read(record, self._wanted, self._registry) for record in records]
        incoming = [item for item in heard if item is not None]
        telemetry.EVENTS.labels(self._service.name, last.topic, "skipped").inc(len(heard) - len(incoming))
        if not incoming:
            return
        tally = Tally(received=len(incoming))
        async with self._database.transaction() as db:
            fresh = await self._claim([item for item in incoming if isinstance(item, Delivery)], db, tally)
            for run in arrange(fresh):
                await self._react(run, db, tally)
            for item in incoming:
                if isinstance(item, Unreadable):
                    await self._park(db, item.record, item.failure, tally)
            await advance(db, self._service.name, last.topic, last.partition, last.offset + 1, tally)
        self._count(last.topic, tally)
        telemetry.log_each(log, "event_applied", [_ids(delivery.record) for delivery in fresh])

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

    async def _park(
        self,
        db: AsyncConnection,
        record: Record,
        error: Exception,
        tally: Tally,
        attempts: int = 1,
        since: datetime | None = None,
    ) -> None:
        if await park(db, self._service.name, record, error, attempts, since):
            tally.parked += 1
            log.warning("event_parked", reason=_short(error), attempts=attempts, **_ids(record))
        else:
            tally.repeated += 1

    async def _through_outages(self, work: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
        """An outage never parks anything and never counts as a try: wait, probe, carry on."""
        pause = RETRY_SECONDS
        while True:
            try:
                await work()
                return
            except Exception as error:
                if classify(error) is not FailureClass.INFRASTRUCTURE:
                    raise
                log.warning("holding", error=_short(error), next_try_seconds=round(pause, 1))
            with telemetry.HOLDING.labels(self._service.name).track_inprogress():
                await _pause(pause, stop)
            pause = min(pause * 2, HOLD_SECONDS)

    def _count(self, topic: str, tally: Tally) -> None:
        for outcome in ("applied", "repeated", "parked"):
            telemetry.EVENTS.labels(self._service.name, topic, outcome).inc(getattr(tally, outcome))


async def _pause(seconds: float, stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
    raise Stopped


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]


def _ids(record: Record) -> dict[str, object]:
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "event_id": record.header("ce_id"),
        "order_id": record.header("ce_subject"),
        "trace_id": telemetry.trace_id_of(record.header("traceparent")),
    }
