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
from chassis.outbox import dump_headers, forward
from chassis.record import Record

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
    """Keeps the record and sends it to `<topic>.<consumer>.dlq`; False if that was done before."""
    row = {
        "consumer": consumer,
        "topic": record.topic,
        "partition": record.partition,
        "kafka_offset": record.offset,
        "event_id": record.event_id,
        "type": _storable(record.header("ce_type")) or None,
        "key": record.key,
        "value": record.value,
        "headers": dump_headers(record.headers),
        "record_at": record.at,
        "failure": classify(error).value,
        "error_type": type(error).__name__,
        "error_message": _storable(str(error))[:MESSAGE_LIMIT],
        "attempts": attempts,
        "first_failed_at": since or datetime.now(UTC),
    }
    statement = insert(parked).values(row).on_conflict_do_nothing().returning(parked.c.id)
    if (await db.execute(statement)).first() is None:
        return False
    if record.event_id is not None:
        await mark_parked(db, consumer, record.event_id, record.redrive)
    headers = [*record.headers, *_reason(row)]
    await forward(db, f"{record.topic}.{consumer}.dlq", record.key, record.value, headers)
    return True


def _reason(row: dict[str, object]) -> list[tuple[str, bytes]]:
    names = (
        "topic",
        "partition",
        "kafka_offset",
        "record_at",
        "consumer",
        "failure",
        "error_type",
        "error_message",
    )
    return [(f"dlq_{name}", str(row[name]).encode()) for name in (*names, "attempts", "first_failed_at")]


def _storable(words: str) -> str:
    """Postgres text holds no NUL."""
    return words.replace("\x00", "\N{REPLACEMENT CHARACTER}")
