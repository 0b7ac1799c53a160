"""The table `outbox`: one row for each message, from the transaction that wrote it until retention deletes it."""

import json
from collections.abc import Sequence

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

from chassis.database import metadata

Headers = Sequence[tuple[str, bytes | None]]

REFUSED = "set_aside_at IS NOT NULL AND discarded_at IS NULL"
"""The condition of a row that cannot be sent and that no operator has retried or discarded yet."""


class UnreadableHeaders(ValueError):
    """The column `headers` holds something that `dump_headers` did not write."""


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
    Column("topic_id", Uuid),
    UniqueConstraint("aggregate_id", "topic", "aggregate_version", name="outbox_one_fact_per_version"),
    Index("outbox_unsent", "id", postgresql_where=text("published_at IS NULL AND set_aside_at IS NULL")),
    Index("outbox_set_aside", "id", postgresql_where=text(REFUSED)),
    Index("outbox_set_aside_key", "key", postgresql_where=text(REFUSED), postgresql_using="hash"),
)

WRITTEN_COLUMNS = (
    "event_id",
    "topic",
    "type",
    "aggregate_id",
    "aggregate_version",
    "key",
    "payload",
    "schema_version",
    "headers",
)
"""The columns that are set when a row is written; the relay sets the others."""


def dump_headers(headers: Headers) -> str:
    """Returns headers as JSON text for the column `headers`; latin-1 maps each byte to one character."""
    return json.dumps([(name, None if value is None else value.decode("latin-1")) for name, value in headers])


def load_headers(stored: str) -> list[tuple[str, bytes | None]]:
    """Returns the headers of a row. Raises UnreadableHeaders for text that `dump_headers` did not write."""
    try:
        return [
            (name, None if value is None else value.encode("latin-1")) for name, value in orjson.loads(stored)
        ]
    except (ValueError, TypeError, AttributeError) as error:
        raise UnreadableHeaders(f"the column headers cannot be read: {error}") from error
