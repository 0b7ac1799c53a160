"""Parks messages that cannot be processed: stores them in the table `parked` and publishes them as dead letters.

Both happen in the consumer's own transaction; the dead letter goes through the outbox like every other message.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog
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

from chassis.consumer import spans
from chassis.database import driver, metadata
from chassis.errors import classify
from chassis.events.dead_letter import DLQ_HEADERS, origin_of, to_headers, without_nul
from chassis.events.dead_letter_size import limit_size
from chassis.events.record import Record
from chassis.events.topics import dead_letter_topic
from chassis.masking import describe, message_of
from chassis.outbox.forward import Message, forward
from chassis.outbox.table import dump_headers

ERROR_MESSAGE_CHARACTERS = 512

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
    UniqueConstraint(
        "consumer", "topic", "partition", "kafka_offset", "record_at", name="parked_once_per_record"
    ),
)

RECORD = (parked.c.topic, parked.c.partition, parked.c.kafka_offset, parked.c.record_at)

# Also returns events that were parked before; their rows change only if the redrive count is higher.
MARK_PARKED = """
    INSERT INTO inbox AS mine (consumer, event_id, status, redrive)
    SELECT $1, event_id, 'parked', redrive FROM unnest($2::uuid[], $3::smallint[]) AS ids (event_id, redrive)
    ON CONFLICT (consumer, event_id) DO UPDATE
        SET redrive = greatest(mine.redrive, excluded.redrive),
            received_at = CASE WHEN excluded.redrive > mine.redrive THEN clock_timestamp() ELSE mine.received_at END
        WHERE mine.status = 'parked'
    RETURNING event_id
"""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Failed:
    """A record that cannot be applied, the error, the attempts since its last redrive, and when they began."""

    record: Record
    error: Exception
    attempts: int = 1
    since: datetime | None = None


async def park(db: AsyncConnection, consumer: str, failed: Sequence[Failed]) -> list[Failed]:
    """Parks the records and publishes them to `<topic>.<consumer>.dlq`; returns those that were not parked before.

    An event that was applied meanwhile, by a worker that lost the partition or crashed, is not parked. The attempts of
    a redriven event are added to those of before.
    """
    ids = [(each.record.event_id, each.record.redrive) for each in failed]
    unapplied = await mark_parked(
        db, consumer, [(event_id, redrive) for event_id, redrive in ids if event_id]
    )
    failed = [each for each in failed if not each.record.event_id or each.record.event_id in unapplied]
    if not failed:
        return []
    rows = [_row(each) | {"consumer": consumer} for each in failed]
    statement = insert(parked).on_conflict_do_nothing().returning(*RECORD)
    new = {tuple(row) for row in await db.execute(statement, rows)}
    fresh = [(each, row) for each, row in zip(failed, rows, strict=True) if _identity(each.record) in new]
    await forward(db, [_dead_letter(each.record, row) for each, row in fresh])
    for each, _ in fresh:
        reason = describe(each.error)
        log.warning("event_parked", reason=reason, attempts=each.attempts, **spans.log_fields(each.record))
    return [each for each, _ in fresh]


async def mark_parked(db: AsyncConnection, consumer: str, events: Iterable[tuple[UUID, int]]) -> set[UUID]:
    """Stores `(event id, redrive count)` pairs as parked; returns their ids, without those that were applied."""
    highest = dict(sorted(events))
    if not highest:
        return set()
    columns = list(highest), list(highest.values())
    return {row["event_id"] for row in await driver(db).fetch(MARK_PARKED, consumer, *columns)}


def _row(failed: Failed) -> dict[str, Any]:
    record, now = failed.record, datetime.now(UTC)
    origin, _ = origin_of(record)
    return {
        "topic": record.topic,
        "partition": record.partition,
        "kafka_offset": record.offset,
        "event_id": record.event_id,
        "type": without_nul(record.header("ce_type")) or None,
        "key": record.key,
        "value": record.value,
        "headers": dump_headers(record.headers),
        "record_at": record.at,
        "failure": classify(failed.error).value,
        "error_type": type(failed.error).__name__,
        "error_message": without_nul(message_of(failed.error))[:ERROR_MESSAGE_CHARACTERS],
        "attempts": origin.attempts + failed.attempts,
        "first_failed_at": origin.first_failed_at or failed.since or now,
        "last_failed_at": now,
    }


def _dead_letter(record: Record, row: Mapping[str, Any]) -> Message:
    origin, headers = origin_of(record)
    first_read = {name: getattr(origin, name) for name in ("topic", "partition", "kafka_offset", "record_at")}
    added = to_headers(DLQ_HEADERS, {**row, **first_read, "redrive": record.redrive})
    topic = dead_letter_topic(origin.topic, row["consumer"])
    key, value, own = limit_size(record.key, record.value, headers)
    return Message(topic, key, value, [*own, *added])


def _identity(record: Record) -> tuple[str, int, int, datetime]:
    return record.topic, record.partition, record.offset, record.at
