"""Applies one batch of a partition's records to the service's database in one transaction.

The steps: decode, claim the event ids in the inbox, group by event type, call the handlers, park what is unreadable,
advance the consumer offset, commit. What happens when a step fails is in recovery.py.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.consumer import spans
from chassis.consumer.ignored import record_ignored
from chassis.consumer.inbox import claim
from chassis.consumer.offsets import BatchCounts, Offsets, Partition
from chassis.consumer.parking import Failed, park
from chassis.consumer.recovery import Recovery, Result
from chassis.database import PUBLISHED, Database, driver
from chassis.events.asked_once import AskedOnce
from chassis.events.avro import WriterSchemas
from chassis.events.decoding import decode_record, is_unwanted
from chassis.events.record import DecodedRecord, IgnoredRecord, Record, UnreadableRecord
from chassis.service import NotAReadModel, Service
from chassis.telemetry import metrics
from chassis.telemetry.logs import log_each
from chassis.telemetry.trace_context import set_parents
from schemas import Event

SHORT_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '500ms'"

log = structlog.get_logger()


class EventProcessor:
    """Processes the events of one service. The same records twice have one effect."""

    def __init__(self, service: Service, database: Database, registry: WriterSchemas) -> None:
        self.offsets = Offsets(service.name)
        self._service = service
        self._database = database
        self._registry = registry
        self._event_types = {event_type.NAME: event_type for event_type in service.handlers}
        self._is_unwanted = partial(is_unwanted, wanted=self._event_types)
        self._recovery = Recovery(
            service.name, database, self.offsets, self._decode, self._apply, self._is_unwanted
        )

    async def process(self, records: Sequence[Record], stop: asyncio.Event) -> None:
        """Returns when every record is applied, skipped or parked. Raises Stopped if told to stop earlier.

        Recovery calls `_decode` once, then `_apply`: with all records, and with parts of them only if that fails.
        """
        began, consumer = time.perf_counter(), self._service.name
        replayed_until = self.offsets.replayed_until((records[0].topic, records[0].partition))
        with spans.spans_of_batch(consumer, records, self._is_wanted, replayed_until) as exemplar:
            if remaining := await self._recovery.process_individually_after_crash(records, stop):
                await self._recovery.apply_or_bisect(remaining, stop)
        metrics.BATCH_SECONDS.labels(consumer).observe(time.perf_counter() - began, exemplar())

    def _is_wanted(self, record: Record) -> bool:
        return record.header("ce_type") in self._event_types or not self._is_unwanted(record)

    async def _apply(self, results: Sequence[Result]) -> None:
        """Applies what is new, parks what is unreadable and advances the offset: all of it commits, or nothing."""
        consumer, (last, _) = self._service.name, results[-1]
        partition = last.topic, last.partition
        decoded = [each for _, each in results if isinstance(each, DecodedRecord)]
        unreadable = [each for _, each in results if isinstance(each, UnreadableRecord)]
        ignored = [each for _, each in results if isinstance(each, IgnoredRecord)]
        counts = BatchCounts(received=len(decoded) + len(unreadable))
        skipped = len(results) - counts.received - len(ignored)
        metrics.EVENTS.labels(consumer, last.topic, "skipped").inc(skipped)
        if skipped == len(results):
            return  # without effects here the offset in Kafka is enough
        async with self._database.transaction() as db:
            if self._recovery.is_searching_for_culprit:
                await driver(db).execute(SHORT_LOCK_TIMEOUT)  # this record keeps all partitions waiting
            fresh = await self._claim(decoded, db)
            for group in group_by_type(fresh):
                await self._call_handler(group, db)
            parked = await park(db, consumer, [Failed(each.record, each.failure) for each in unreadable])
            await record_ignored(db, consumer, partition, ignored)
            counts.applied, counts.parked = len(fresh), len(parked)
            counts.duplicates = counts.received - counts.applied - counts.parked
            await self.offsets.advance(db, partition, last.offset + 1, counts)
        self.offsets.committed(partition, last.offset + 1, counts)
        metrics.EVENTS.labels(consumer, last.topic, "ignored").inc(len(ignored))
        now = time.time()
        ages = (max(now - each.event.occurred_at / 1000, 0.0) for each in fresh)
        metrics.EVENT_AGE.observe((consumer, last.topic), ages, spans.exemplar())
        log_each(log, "event_applied", fresh, lambda applied: spans.log_fields(applied.record))
        if spans.is_recording():
            self._end_spans(decoded, fresh, unreadable, parked, ignored)

    def _end_spans(
        self,
        decoded: Sequence[DecodedRecord],
        fresh: Sequence[DecodedRecord],
        unreadable: Sequence[UnreadableRecord],
        parked: Sequence[Failed],
        ignored: Sequence[IgnoredRecord],
    ) -> None:
        """Ends the spans of this transaction's records. What is neither applied nor parked was settled before."""
        spans.settled((each.record for each in fresh), "applied")
        spans.settled((each.record for each in ignored), "ignored")
        spans.parked((each.record, each.error) for each in parked)
        spans.settled((each.record for each in decoded), "duplicate", is_redelivered=True)
        spans.settled((each.record for each in unreadable), "duplicate", is_redelivered=True)

    async def _decode(self, records: Sequence[Record]) -> list[Result]:
        registry = AskedOnce(self._registry)
        return [(each, await decode_record(each, self._event_types, registry)) for each in records]

    async def _claim(self, decoded: Sequence[DecodedRecord], db: AsyncConnection) -> list[DecodedRecord]:
        """Inserts the inbox rows of all events; returns the records that are new, in order and without duplicates."""
        first = {each.event_id: each for each in reversed(decoded)}  # of duplicates, the earliest stays
        new = await claim(db, self._service.name, [(key, each.record.redrive) for key, each in first.items()])
        return [each for each in decoded if each.event_id in new and first[each.event_id] is each]

    async def _call_handler(self, group: "EventGroup", db: AsyncConnection) -> None:
        """Calls the handler with the group's events; what it publishes continues the traces of these events.

        Raises NotAReadModel for a read model that publishes: a replay would publish it again.
        """
        set_parents(spans.parents_of(group.records))
        await self._service.handlers[group.event_type]([each.event for each in group.records], db)
        if self._service.read_model and db.info.get(PUBLISHED):
            raise NotAReadModel(f"{self._service.name} publishes events: leave out read_model")

    async def release(self, partitions: Sequence[Partition]) -> None:
        await self._recovery.clear_crash_markers(partitions)


@dataclass(slots=True)
class EventGroup:
    """Events of one type, for one call of a handler."""

    event_type: type[Event]
    records: list[DecodedRecord]


def group_by_type(records: Iterable[DecodedRecord]) -> list[EventGroup]:
    """Returns as few groups as possible without moving an event past another of the same key (first fit)."""
    groups: list[EventGroup] = []
    last_group_of_key: dict[str, int] = {}
    for record in records:
        event_type, key = type(record.event), record.event.key
        earliest = last_group_of_key.get(key, 0)
        of_same_type = (n for n in range(earliest, len(groups)) if groups[n].event_type is event_type)
        position = next(of_same_type, len(groups))
        if position == len(groups):
            groups.append(EventGroup(event_type, []))
        groups[position].records.append(record)
        last_group_of_key[key] = position
    return groups
