"""The table of notifications, and the statements by which the sender takes messages and records their delivery."""

from sqlalchemy import Column, Identity, Index, MetaData, Table, func, text
from sqlalchemy.types import BigInteger, DateTime, Integer, Text

from chassis.purging import Retention

metadata = MetaData()

messages = Table(
    "messages",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("order_id", Text, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("message_id", Text, nullable=False, server_default=text("gen_random_uuid()::text")),
    Column("next_try_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("sent_at", DateTime(timezone=True)),
    Column("refused_at", DateTime(timezone=True)),
    Column("last_error", Text),
    Index(
        "messages_order_id", "order_id"
    ),  # not unique, so that checks.sql can find a message that was written twice
    Index("messages_to_send", "id", postgresql_where=text("sent_at IS NULL AND refused_at IS NULL")),
)

RETENTION = Retention(
    "messages", key="id", made_at="created_at", over="coalesce(sent_at, refused_at) < :before"
)

TAKE_DUE_MESSAGES = text("""
    WITH due AS (
        SELECT id FROM messages
        WHERE sent_at IS NULL AND refused_at IS NULL AND next_try_at <= clock_timestamp()
        ORDER BY id LIMIT :batch_size FOR UPDATE SKIP LOCKED
    )
    UPDATE messages SET next_try_at = clock_timestamp() + make_interval(secs => :seconds)
    FROM due WHERE messages.id = due.id
    RETURNING messages.id, message_id, order_id, customer_id, kind, body
""")

_CHANGES = {
    "sent": "sent_at = clock_timestamp(), attempts = attempts + 1, last_error = NULL",
    "refused": "refused_at = clock_timestamp(), attempts = attempts + 1, last_error = error",
    "postponed": "next_try_at = clock_timestamp() + interval '1 second' * power(2, least(attempts, 6)), "
    "attempts = attempts + 1, last_error = error",
    "not_attempted": "next_try_at = clock_timestamp()",
}
RECORD_DELIVERIES = {
    outcome: text(f"""
        UPDATE messages SET {changes}
        FROM unnest(CAST(:ids AS bigint[]), CAST(:errors AS text[])) AS delivery (id, error)
        WHERE messages.id = delivery.id AND sent_at IS NULL
    """)
    for outcome, changes in _CHANGES.items()
}
"""Statements by outcome. A postponed message is tried again after 1 second, then 2, 4, … up to 64 seconds."""
