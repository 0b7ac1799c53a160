"""One transaction over records of one partition: receipts, effects, what is parked, and how far it got."""

from collections.abc import Sequence

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import telemetry
from chassis.consumer.event_groups import Run, arrange
from chassis.consumer.inbox import claim, settled
from chassis.consumer.offsets import BatchCounts, advance
from chassis.consumer.outages import short
from chassis.consumer.parking import Failed, park
from chassis.database import Database, driver
from chassis.events.record import Delivery, Record, Unreadable
from chassis.service import Service
from chassis.telemetry import log_each

BRIEFLY = "SET LOCAL lock_timeout = '500ms'"
"""Whoever is alone in hand and waits for a lock holds everything else up, and would be suspected meanwhile."""

Heard = tuple[Record, Delivery | Unreadable | None]
"""A record, and what reading it made of it."""

log = structlog.get_logger()


class Effects:
    """What records do to one service's database. The same records twice are one effect."""

    def __init__(self, service: Service, database: Database) -> None:
        self._service = service
        self._database = database

    async def apply(self, heard: Sequence[Heard], briefly: bool) -> None:
        """Applies what is readable and new, and parks what is unreadable; `briefly` waits less long for a lock."""
        last, incoming = heard[-1][0], [item for _, item in heard if item is not None]
        telemetry.EVENTS.labels(self._service.name, last.topic, "skipped").inc(len(heard) - len(incoming))
        if not incoming:
            return
        counts = BatchCounts(received=len(incoming))
        async with self._database.transaction() as db:
            if briefly:
                await driver(db).execute(BRIEFLY)
            fresh = await self._claim([item for item in incoming if isinstance(item, Delivery)], db, counts)
            for run in arrange(fresh):
                await self._react(run, db, counts)
            unreadable = [item for item in incoming if isinstance(item, Unreadable)]
            await self._park(db, [Failed(item.record, item.failure) for item in unreadable], counts)
            await advance(db, self._service.name, last.topic, last.partition, last.offset + 1, counts)
        self._count(last.topic, counts)
        log_each(log, "event_applied", fresh, lambda delivery: ids(delivery.record))

    async def park(self, failed: Failed) -> None:
        """Puts one record aside that cannot be applied."""
        record, counts = failed.record, BatchCounts(received=1)
        async with self._database.transaction() as db:
            await self._park(db, [failed], counts)
            await advance(db, self._service.name, record.topic, record.partition, record.offset + 1, counts)
        self._count(record.topic, counts)

    async def without_settled(self, records: Sequence[Record]) -> list[Record]:
        """Returns the records that the inbox does not have, and counts the others as duplicates."""
        last, ids = records[-1], [(record.event_id, record.redrive) for record in records]
        async with self._database.transaction() as db:
            done = await settled(db, self._service.name, [(key, redrive) for key, redrive in ids if key])
            fresh = [record for record in records if (record.event_id, record.redrive) not in done]
            duplicates = len(records) - len(fresh)
            if duplicates:
                counts = BatchCounts(received=duplicates, duplicates=duplicates)
                await advance(db, self._service.name, last.topic, last.partition, records[0].offset, counts)
        telemetry.EVENTS.labels(self._service.name, last.topic, "duplicates").inc(duplicates)
        return fresh

    async def _claim(
        self, deliveries: Sequence[Delivery], db: AsyncConnection, counts: BatchCounts
    ) -> list[Delivery]:
        first_of = {delivery.event_id: delivery for delivery in reversed(deliveries)}
        claims = [(event_id, delivery.record.redrive) for event_id, delivery in first_of.items()]
        new = await claim(db, self._service.name, claims)
        fresh = [item for item in deliveries if item.event_id in new and first_of[item.event_id] is item]
        counts.duplicates += len(deliveries) - len(fresh)
        return fresh

    async def _react(self, run: Run, db: AsyncConnection, counts: BatchCounts) -> None:
        telemetry.set_parent_contexts(
            {item.event.key: item.record.header("traceparent") for item in run.deliveries}
        )
        events = [delivery.event for delivery in run.deliveries]
        counts.applied += len(events)
        await self._service.handlers[run.event_type](events, db)

    async def _park(self, db: AsyncConnection, failed: Sequence[Failed], counts: BatchCounts) -> None:
        new = await park(db, self._service.name, failed)
        counts.parked += len(new)
        counts.duplicates += len(failed) - len(new)
        for each in new:
            log.warning("event_parked", reason=short(each.error), attempts=each.attempts, **ids(each.record))

    def _count(self, topic: str, counts: BatchCounts) -> None:
        for outcome in ("applied", "duplicates", "parked"):
            telemetry.EVENTS.labels(self._service.name, topic, outcome).inc(getattr(counts, outcome))


def ids(record: Record) -> dict[str, object]:
    """Names a record in a log line."""
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "event_id": record.header("ce_id"),
        "order_id": record.header("ce_subject"),
        "trace_id": telemetry.trace_id_of(record.header("traceparent")),
    }
