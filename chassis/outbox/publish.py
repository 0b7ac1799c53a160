"""A fact and its event are one transaction: `publish` writes a row, the relay sends it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from uuid_utils.compat import uuid7

from chassis.database import PUBLISHED, driver, metadata
from chassis.events.avro import encode
from chassis.telemetry import traceparent_for
from schemas import Event

Headers = Sequence[tuple[str, bytes | None]]

REFUSED = "set_aside_at IS NOT NULL AND discarded_at IS NULL"
"""A row that cannot be sent, until somebody has it tried again or discards it."""

outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("event_id", Uuid, nullable=False),
    Column("topic", Text, nullable=False),
    Column("type", Text),
    Column("aggregate_id", Text),
    Column("aggregate_version", Integer),
    Column("key", LargeBinary),
    Column("payload", LargeBinary),
    Column("schema_version", Integer),
    Column("headers", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("published_at", DateTime(timezone=True)),
    Column("kafka_partition", Integer),
    Column("kafka_offset", BigInteger),
    Column("set_aside_at", DateTime(timezone=True)),
    Column("error_type", Text),
    Column("error_message", Text),
    Column("discarded_at", DateTime(timezone=True)),
    Column("discarded_by", Text),
    Column("discard_reason", Text),
    UniqueConstraint("aggregate_id", "topic", "aggregate_version", name="outbox_one_fact_per_version"),
    Index("outbox_unsent", "id", postgresql_where=text("published_at IS NULL AND set_aside_at IS NULL")),
    Index("outbox_set_aside", "id", postgresql_where=text(REFUSED)),
    Index("outbox_set_aside_key", "key", postgresql_where=text(REFUSED), postgresql_using="hash"),
)

COLUMNS = {
    "event_id": "uuid",
    "topic": "text",
    "type": "text",
    "aggregate_id": "text",
    "aggregate_version": "int",
    "key": "bytea",
    "payload": "bytea",
    "schema_version": "int",
    "headers": "text",
}
INSERT = f"""
    INSERT INTO outbox ({", ".join(COLUMNS)})
    SELECT * FROM unnest({", ".join(f"${n}::{type}[]" for n, type in enumerate(COLUMNS.values(), 1))})
"""


async def publish(db: AsyncConnection, events: Iterable[Event]) -> None:
    """Makes the events part of the caller's transaction, in this order.

    Call it after the aggregate's row is locked or changed: then the order of ids is the order of versions.
    """
    await _insert(db, [_row(event) for event in events])


@dataclass(frozen=True, slots=True)
class Message:
    """Bytes to send as they are (a dead letter), or, with a type, an event's payload that still wants its frame."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    type: str | None = None
    schema_version: int | None = None


async def forward(db: AsyncConnection, messages: Iterable[Message]) -> None:
    """Makes messages that are nobody's facts part of the caller's transaction."""
    rows = [
        {
            "event_id": uuid7(),
            "topic": message.topic,
            "type": message.type,
            "key": message.key,
            "payload": message.value,
            "schema_version": message.schema_version,
            "headers": dump_headers(message.headers),
        }
        for message in messages
    ]
    await _insert(db, rows)


def dump_headers(headers: Headers) -> str:
    """Header bytes as JSON text; latin-1 maps every byte to one character and back."""
    return json.dumps([(name, None if value is None else value.decode("latin-1")) for name, value in headers])


def load_headers(stored: str) -> list[tuple[str, bytes | None]]:
    return [
        (name, None if value is None else value.encode("latin-1")) for name, value in orjson.loads(stored)
    ]


async def _insert(db: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes the rows, and leaves them on the connection to be logged once its transaction is committed."""
    if not rows:
        return
    await driver(db).execute(INSERT, *([row.get(column) for row in rows] for column in COLUMNS))
    db.info.setdefault(PUBLISHED, []).extend(rows)


def _row(event: Event) -> dict[str, Any]:
    event_id = uuid7()
    return {
        "event_id": event_id,
        "topic": event.TOPIC,
        "type": event.NAME,
        "aggregate_id": event.key,
        "aggregate_version": event.aggregate_version,
        "key": event.key.encode(),
        "payload": encode(event),
        "schema_version": event.SCHEMA_VERSION,
        "headers": json.dumps(list(_cloudevents_headers(event, str(event_id)).items())),
    }


def _cloudevents_headers(event: Event, event_id: str) -> dict[str, str]:
    """CloudEvents 1.0, Kafka protocol binding, binary content mode; plus W3C trace context."""
    return {
        "ce_specversion": "1.0",
        "ce_id": event_id,
        "ce_type": event.NAME,
        "ce_source": f"/fanout/{event.TOPIC}",
        "ce_subject": event.key,
        "ce_time": datetime.now(UTC).isoformat(),
        "content-type": "application/avro",
        "traceparent": traceparent_for(event.key),
    }
