"""Reads dead letters: what a consumer parked, opened for whoever files them."""

import asyncio
from collections.abc import Sequence

import structlog

from chassis import telemetry
from chassis.consumer.crash_loop import WorkerCrashed
from chassis.consumer.offsets import BatchCounts, advance
from chassis.consumer.retry import wait_out_outages
from chassis.database import Database
from chassis.events.dead_letter import (
    DLQ_HEADERS,
    DeadLetter,
    Origin,
    parse_timestamp,
    split_headers,
    without_nul,
)
from chassis.events.record import EVENT_TYPES, Record, UnreadableRecord, decode_record
from chassis.events.registry import Registry
from chassis.events.topics import dead_letter_topic
from chassis.service import Service
from schemas import Event

log = structlog.get_logger()


class DeadLetterConsumer:
    """Files dead letters. There is no dead letter of a dead letter: what cannot be filed is waited for."""

    def __init__(self, service: Service, database: Database, registry: Registry) -> None:
        assert service.dead_letter_handler is not None
        self._name = service.name
        self._file = service.dead_letter_handler
        self._database = database
        self._registry = registry

    async def process(self, records: Sequence[Record], stop: asyncio.Event) -> None:
        """Returns when every record is filed. Raises Stopped if told to stop before that."""

        last = records[-1]

        async def file() -> None:
            letters = [await opened(record, self._registry) for record in records]
            async with self._database.transaction() as db:
                await self._file(letters, db)
                counts = BatchCounts(received=len(records), applied=len(records))
                await advance(db, self._name, last.topic, last.partition, last.offset + 1, counts)
            telemetry.EVENTS.labels(self._name, last.topic, "applied").inc(len(letters))

        await wait_out_outages(file, stop, self._name, waits_for=lambda _: True)

    async def release(self, partitions: Sequence[tuple[str, int]]) -> None:
        """Nothing was noted about them: filing reads no value that could kill it."""


async def opened(record: Record, registry: Registry) -> DeadLetter:
    """Also a record that no consumer of ours parked has its place: it is its own origin."""
    headers, labels = split_headers(record.headers, DLQ_HEADERS)
    try:
        origin, last_failed_at = Origin.read(labels), parse_timestamp(labels["dlq_last_failed_at"])
        if record.topic != dead_letter_topic(origin.topic, labels["dlq_consumer"]):
            raise ValueError(f"it does not belong into {record.topic}")
    except (KeyError, ValueError):
        headers, labels = record.headers, {}
        origin, last_failed_at = Origin(record.topic, record.partition, record.offset, record.at), record.at
    parked = Record(
        record.topic, record.partition, record.offset, record.timestamp_ms, record.key, record.value, headers
    )
    event, decode_error = await _decoded(parked, labels.get("dlq_error_type", ""), registry)
    return DeadLetter(
        consumer=labels.get("dlq_consumer", record.topic.split(".")[-2]),
        origin=origin,
        event_id=parked.event_id,
        type=without_nul(parked.header("ce_type")),
        key=record.key,
        value=record.value,
        headers=headers,
        failure=labels.get("dlq_failure", "permanent"),
        error_type=labels.get("dlq_error_type", "NotParkedByUs"),
        error_message=labels.get(
            "dlq_error_message", "it has no dlq_ headers: no consumer of ours parked it"
        ),
        last_failed_at=last_failed_at,
        event=event,
        decode_error=decode_error,
    )


async def _decoded(record: Record, error_type: str, registry: Registry) -> tuple[Event | None, str | None]:
    """Returns the event, or why there is none. What killed a worker is not read: it would kill this one, too."""
    if error_type == WorkerCrashed.__name__:
        return None, "not decoded: it killed the workers that did"
    heard = await decode_record(record, EVENT_TYPES, registry)
    if isinstance(heard, UnreadableRecord):
        return None, without_nul(str(heard.failure))
    return (heard.event if heard else None), None
