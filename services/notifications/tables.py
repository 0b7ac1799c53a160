"""The table of notifications: messages to customers, and what became of each."""

from sqlalchemy import Column, Identity, Index, MetaData, Table, func, text
from sqlalchemy.types import BigInteger, DateTime, Integer, Text

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
