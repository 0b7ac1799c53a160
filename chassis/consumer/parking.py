"""A message that cannot work is put aside, whole, in the consumer's own transaction, and the partition moves on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Identity,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.consumer.inbox import mark_parked
from chassis.database import metadata
from chassis.errors import classify
from chassis.events.dead_letter import DLQ_HEADERS, origin_of, storable, written
from chassis.events.dead_letter_size import fitted
from chassis.events.record import Record
from chassis.events.topics import dead_letter_topic
from chassis.outbox.forward import Message, forward
from chassis.outbox.table import dump_headers

MESSAGE_LIMIT = 512

parked = Table(
    "parked",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("consumer", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("kafka_offset", BigInteger, nullable=False),
    Column("event_id", Uuid),
    Column("type", Text),
    Column("key", LargeBinary),
    Column("value", LargeBinary),
    Column("headers", Text, nullable=False),
    Column("record_at", DateTime(timezone=True), nullable=False),
    Column("failure", Text, nullable=False),
    Column("error_type", Text, nullable=False),
    Column("error_message", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("first_failed_at", DateTime(timezone=True), nullable=False),
    Column("last_failed_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    UniqueConstraint("consumer", "topic", "partition", "kafka_offset", name="parked_once_per_record"),
)


PLACE = (parked.c.topic, parked.c.partition, parked.c.kafka_offset)


@dataclass(frozen=True, slots=True)
class Failed:
    """A record, why it cannot be applied, how often it was tried in this life of it, and since when."""

    record: Record
    error: Exception
    attempts: int = 1
    since: datetime | None = None


async def park(db: AsyncConnection, consumer: str, failed: Sequence[Failed]) -> list[Failed]:
    """Keeps the records and sends them to `<topic>.<consumer>.dlq`; returns those that were not there before.

    An event that was applied meanwhile, by a worker that lost the partition or died, is not parked. One that was
    redriven and fails again goes there with the attempts of all its lives.
    """
    ids = [(each.record.event_id, each.record.redrive) for each in failed]
    unapplied = await mark_parked(
        db, consumer, [(event_id, redrive) for event_id, redrive in ids if event_id]
    )
    failed = [each for each in failed if not each.record.event_id or each.record.event_id in unapplied]
    if not failed:
        return []
    rows = [_row(each) | {"consumer": consumer} for each in failed]
    statement = insert(parked).on_conflict_do_nothing().returning(*PLACE)
    new = {tuple(place) for place in await db.execute(statement, rows)}
    fresh = [(each, row) for each, row in zip(failed, rows, strict=True) if _place(each.record) in new]
    await forward(db, [_dead_letter(each.record, row) for each, row in fresh])
    return [each for each, _ in fresh]


def _row(failed: Failed) -> dict[str, Any]:
    record, now = failed.record, datetime.now(UTC)
    origin, _ = origin_of(record)
    return {
        "topic": record.topic,
        "partition": record.partition,
        "kafka_offset": record.offset,
        "event_id": record.event_id,
        "type": storable(record.header("ce_type")) or None,
        "key": record.key,
        "value": record.value,
        "headers": dump_headers(record.headers),
        "record_at": record.at,
        "failure": classify(failed.error).value,
        "error_type": type(failed.error).__name__,
        "error_message": storable(str(failed.error))[:MESSAGE_LIMIT],
        "attempts": origin.attempts + failed.attempts,
        "first_failed_at": origin.first_failed_at or failed.since or now,
        "last_failed_at": now,
    }


def _dead_letter(record: Record, row: Mapping[str, Any]) -> Message:
    origin, headers = origin_of(record)
    first_place = {
        name: getattr(origin, name) for name in ("topic", "partition", "kafka_offset", "record_at")
    }
    labels = written(DLQ_HEADERS, {**row, **first_place, "redrive": record.redrive})
    topic = dead_letter_topic(origin.topic, row["consumer"])
    key, value, own = fitted(record.key, record.value, headers)
    return Message(topic, key, value, [*own, *labels])


def _place(record: Record) -> tuple[str, int, int]:
    return record.topic, record.partition, record.offset
