"""Reads dead letters: decodes the messages that consumers parked and hands them to a service that stores them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, replace

from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.consumer import spans
from chassis.consumer.crash_loop import WorkerCrashed
from chassis.consumer.offsets import BatchCounts, Offsets, Partition
from chassis.consumer.retry import wait_out_outages
from chassis.database import Database
from chassis.events.asked_once import AskedOnce
from chassis.events.avro import WriterSchemas
from chassis.events.dead_letter import (
    DLQ_HEADERS,
    DeadLetter,
    Origin,
    parse_timestamp,
    split_headers,
    without_nul,
)
from chassis.events.decoding import decode_record
from chassis.events.record import EVENT_TYPES, IgnoredRecord, Record, UnreadableRecord
from chassis.events.topics import dead_letter_topic
from chassis.masking import work_on
from schemas import Event


class DeadLetterConsumer:
    """A RecordProcessor that stores dead letters.

    A dead letter is never parked itself: whatever the error, storing it is repeated until it succeeds.
    """

    def __init__(
        self,
        consumer: str,
        store: Callable[[Sequence[DeadLetter], AsyncConnection], Awaitable[None]],
        database: Database,
        registry: WriterSchemas,
    ) -> None:
        self.offsets = Offsets(consumer)
        self._consumer = consumer
        self._store = store
        self._database = database
        self._registry = registry

    async def process(self, records: Sequence[Record], stop: asyncio.Event) -> None:
        """Returns when every record is stored. Raises Stopped if told to stop earlier."""
        partition, next_offset = (records[-1].topic, records[-1].partition), records[-1].offset + 1

        async def store() -> None:
            registry = AskedOnce(self._registry)
            dead_letters = [await read_dead_letter(record, registry) for record in records]
            work_on(lambda: [asdict(each.event) for each in dead_letters if each.event])
            counts = BatchCounts(received=len(records), applied=len(records))
            async with self._database.transaction() as db:
                await self._store(dead_letters, db)
                await self.offsets.advance(db, partition, next_offset, counts)
            self.offsets.committed(partition, next_offset, counts)
            spans.settled(records, "stored")

        with spans.spans_of_batch(self._consumer, records, is_wanted=lambda _: True):
            await wait_out_outages(store, stop, self._consumer, waits_for=lambda _: True)

    async def release(self, partitions: Sequence[Partition]) -> None:
        """Does nothing: no crash markers are written, because values that crashed a worker are not decoded."""


async def read_dead_letter(record: Record, registry: WriterSchemas) -> DeadLetter:
    """Returns the dead letter in this record. A record without valid headers of ours is its own origin."""
    headers, added = split_headers(record.headers, DLQ_HEADERS)
    try:
        origin, last_failed_at = Origin.read(added), parse_timestamp(added["dlq_last_failed_at"])
        if record.topic != dead_letter_topic(origin.topic, added["dlq_consumer"]):
            raise ValueError(f"it does not belong into {record.topic}")
    except (KeyError, ValueError):
        headers, added = record.headers, {}
        origin, last_failed_at = Origin(record.topic, record.partition, record.offset, record.at), record.at
    parked = replace(record, headers=headers)
    event, decode_error = await _decode(parked, added.get("dlq_error_type", ""), registry)
    return DeadLetter(
        consumer=added.get("dlq_consumer", record.topic.split(".")[-2]),
        origin=origin,
        event_id=parked.event_id,
        type=without_nul(parked.header("ce_type")),
        key=record.key,
        value=record.value,
        headers=headers,
        failure=added.get("dlq_failure", "permanent"),
        error_type=added.get("dlq_error_type", "NotParkedByUs"),
        error_message=added.get(
            "dlq_error_message", "the record has no valid dlq_ headers: no consumer of this system parked it"
        ),
        last_failed_at=last_failed_at,
        event=event,
        decode_error=decode_error,
    )


async def _decode(
    record: Record, error_type: str, registry: WriterSchemas
) -> tuple[Event | None, str | None]:
    """Returns the event, or why there is none. A message that crashed its worker would crash this one too."""
    if error_type == WorkerCrashed.__name__:
        return None, "not decoded: it crashed the workers that decoded it"
    decoded = await decode_record(record, EVENT_TYPES, registry)
    match decoded:
        case UnreadableRecord(failure=failure):
            return None, without_nul(str(failure))
        case IgnoredRecord(type=type_name):
            return None, without_nul(
                f"this release does not know the event type {type_name}, but it is registered"
            )
    return (decoded.event if decoded else None), None
