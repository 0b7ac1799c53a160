"""A message that cannot work is put aside, whole, in the consumer's own transaction, and the partition moves on."""

from datetime import UTC, datetime

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

from chassis.database import metadata
from chassis.failures import classify
from chassis.inbox import mark_parked
from chassis.labels import OUT, origin_of, storable, written
from chassis.outbox import Message, dump_headers, forward
from chassis.record import Record
from chassis.topics import dead_letter_topic

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


async def park(
    db: AsyncConnection,
    consumer: str,
    record: Record,
    error: Exception,
    attempts: int = 1,
    since: datetime | None = None,
) -> bool:
    """Keeps the record and sends it to `<topic>.<consumer>.dlq`; False if that was done before.

    One that was redriven and fails again goes there with the attempts of all its lives.
    """
    origin, headers = origin_of(record)
    now = datetime.now(UTC)
    row = {
        "consumer": consumer,
        "topic": record.topic,
        "partition": record.partition,
        "kafka_offset": record.offset,
        "event_id": record.event_id,
        "type": storable(record.header("ce_type")) or None,
        "key": record.key,
        "value": record.value,
        "headers": dump_headers(record.headers),
        "record_at": record.at,
        "failure": classify(error).value,
        "error_type": type(error).__name__,
        "error_message": storable(str(error))[:MESSAGE_LIMIT],
        "attempts": origin.attempts + attempts,
        "first_failed_at": origin.first_failed_at or since or now,
        "last_failed_at": now,
    }
    statement = insert(parked).values(row).on_conflict_do_nothing().returning(parked.c.id)
    if (await db.execute(statement)).first() is None:
        return False
    if record.event_id is not None:
        await mark_parked(db, consumer, record.event_id, record.redrive)
    first_place = {
        name: getattr(origin, name) for name in ("topic", "partition", "kafka_offset", "record_at")
    }
    labels = written(OUT, row | first_place | {"redrive": record.redrive})
    dead_letter = Message(
        dead_letter_topic(origin.topic, consumer), record.key, record.value, [*headers, *labels]
    )
    await forward(db, [dead_letter])
    return True
