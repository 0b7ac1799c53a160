"""Applies one batch of a partition's records to the service's database in one transaction.

The steps: decode, claim the event ids in the inbox, group by event type, call the handlers, advance the consumer
offset, commit. What happens when a step fails is in recovery.py.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import telemetry
from chassis.consumer.inbox import claim
from chassis.consumer.offsets import BatchCounts, Partition, advance
from chassis.consumer.parking import Failed, park
from chassis.consumer.recovery import Recovery
from chassis.database import Database, driver
from chassis.errors import PermanentFailure
from chassis.events.record import DecodedRecord, Record, UnreadableRecord, decode_record
from chassis.events.registry import Registry
from chassis.service import Service
from chassis.telemetry import log_each
from schemas import Event

NOT_UTF_8 = "\N{REPLACEMENT CHARACTER}"
SHORT_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '500ms'"

log = structlog.get_logger()


class EventProcessor:
    """Processes the events of one service. The same records twice have one effect."""

    def __init__(self, service: Service, database: Database, registry: Registry) -> None:
        self._service = service
        self._database = database
        self._registry = registry
        self._event_types = {event_type.NAME: event_type for event_type in service.handlers}
        self._recovery = Recovery(service.name, database, self._apply)

    async def process(self, records: Sequence[Record], stop: asyncio.Event) -> None:
        """Returns when every record is applied, skipped or parked. Raises Stopped if told to stop earlier."""
        with telemetry.BATCH_SECONDS.labels(self._service.name).time():
            if remaining := await self._recovery.process_individually_after_crash(records, stop):
                await self._recovery.apply_or_bisect(remaining, stop)

    async def _apply(self, records: Sequence[Record]) -> None:
        """Applies what is new, parks what is unreadable and advances the offset: all of it commits, or nothing."""
        consumer, last = self._service.name, records[-1]
        deliveries, unreadable = await self._decode(records)
        counts = BatchCounts(received=len(deliveries) + len(unreadable))
        telemetry.EVENTS.labels(consumer, last.topic, "skipped").inc(len(records) - counts.received)
        if not counts.received:
            return
        async with self._database.transaction() as db:
            if self._recovery.is_searching_for_culprit:
                await driver(db).execute(SHORT_LOCK_TIMEOUT)  # a record that waits blocks all partitions
            fresh = await self._claim(deliveries, db)
            for group in group_by_type(fresh):
                await self._call_handler(group, db)
            parked = await park(db, consumer, [Failed(item.record, item.failure) for item in unreadable])
            counts.applied, counts.parked = len(fresh), len(parked)
            counts.duplicates = counts.received - counts.applied - counts.parked
            await advance(db, consumer, last.topic, last.partition, last.offset + 1, counts)
        counts.add_to_metrics(consumer, last.topic)
        log_each(log, "event_applied", fresh, lambda delivery: delivery.record.log_fields)

    async def _decode(self, records: Sequence[Record]) -> tuple[list[DecodedRecord], list[UnreadableRecord]]:
        """Returns the decoded events and the unreadable records; other event types of the topic are left out."""
        decoded = [await self._decode_one(record) for record in records]
        return (
            [item for item in decoded if isinstance(item, DecodedRecord)],
            [item for item in decoded if isinstance(item, UnreadableRecord)],
        )

    async def _decode_one(self, record: Record) -> DecodedRecord | UnreadableRecord | None:
        decoded = await decode_record(record, self._event_types, self._registry)
        if isinstance(decoded, DecodedRecord) and any(NOT_UTF_8 in name for name, _ in record.headers):
            return UnreadableRecord(record, PermanentFailure("the name of a header is not UTF-8"))
        return decoded

    async def _claim(self, deliveries: Sequence[DecodedRecord], db: AsyncConnection) -> list[DecodedRecord]:
        """Inserts the events' inbox rows and returns the deliveries that are new; the others are duplicates."""
        first = {delivery.event_id: delivery for delivery in reversed(deliveries)}
        redrives = {event_id: delivery.record.redrive for event_id, delivery in first.items()}
        new = await claim(db, self._service.name, redrives.items())
        return [item for item in deliveries if item.event_id in new and first[item.event_id] is item]

    async def _call_handler(self, group: "EventGroup", db: AsyncConnection) -> None:
        telemetry.set_parent_contexts(
            {item.event.key: item.record.header("traceparent") for item in group.deliveries}
        )
        events = [delivery.event for delivery in group.deliveries]
        await self._service.handlers[group.event_type](events, db)

    async def release(self, partitions: Sequence[Partition]) -> None:
        await self._recovery.clear_crash_markers(partitions)


@dataclass(slots=True)
class EventGroup:
    """Events of one type that one call of a handler gets."""

    event_type: type[Event]
    deliveries: list[DecodedRecord]


def group_by_type(deliveries: Iterable[DecodedRecord]) -> list[EventGroup]:
    """Returns as few groups as possible without moving an event past another of the same key (first fit)."""
    groups: list[EventGroup] = []
    last_group_of_key: dict[str, int] = {}
    for delivery in deliveries:
        event_type, key = type(delivery.event), delivery.event.key
        earliest = last_group_of_key.get(key, 0)
        fitting = (n for n in range(earliest, len(groups)) if groups[n].event_type is event_type)
        position = next(fitting, len(groups))
        if position == len(groups):
            groups.append(EventGroup(event_type, []))
        groups[position].deliveries.append(delivery)
        last_group_of_key[key] = position
    return groups
