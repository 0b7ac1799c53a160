"""Tables of dead letters, and of what operators did about each."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    MetaData,
    Table,
    UniqueConstraint,
    func,
)
from sqlalchemy.types import BigInteger, DateTime, Integer, LargeBinary, Text, Uuid

from chassis.purging import Retention

metadata = MetaData()

RECORD = ("consumer", "topic", "partition", "kafka_offset", "record_at")
"""Columns that say which record its consumer read: unique for each dead letter. A topic that is made anew begins at
offset 0 again, so Kafka's time belongs to them."""

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("dead_letter_id", BigInteger, Identity(always=True), primary_key=True),
    Column("consumer", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("kafka_offset", BigInteger, nullable=False),
    Column("record_at", DateTime(timezone=True), nullable=False),
    Column("event_id", Uuid),
    Column("type", Text),
    Column("key", LargeBinary),
    Column("value", LargeBinary),
    Column("headers", Text, nullable=False),
    Column("event", Text),
    Column("decode_error", Text),
    Column("failure", Text, nullable=False),
    Column("error_type", Text, nullable=False),
    Column("error_message", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("first_failed_at", DateTime(timezone=True), nullable=False),
    Column("last_failed_at", DateTime(timezone=True), nullable=False),
    Column("status", Text, nullable=False),
    Column("redrive", Integer, nullable=False),
    UniqueConstraint(*RECORD, name="dead_letters_once_per_record"),
    CheckConstraint("status IN ('parked', 'redriven', 'discarded')", name="status_is_known"),
    Index("dead_letters_by_status", "status", "dead_letter_id"),
    Index("dead_letters_by_consumer", "consumer", "dead_letter_id"),
    Index("dead_letters_by_topic", "topic", "dead_letter_id"),
    Index("dead_letters_by_failure", "failure", "dead_letter_id"),
    Index("dead_letters_by_error_type", "error_type", "dead_letter_id"),
    Index("dead_letters_by_time", "last_failed_at"),
)

actions = Table(
    "actions",
    metadata,
    Column("action_id", BigInteger, Identity(always=True), primary_key=True),
    Column("dead_letter_id", BigInteger, ForeignKey("dead_letters.dead_letter_id"), nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("who", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("redrive", Integer, nullable=False),
    Column("correction", Text),
    CheckConstraint("what IN ('redriven', 'discarded')", name="action_is_known"),
    CheckConstraint("who <> '' AND why <> ''", name="who_and_why_are_given"),
    Index("actions_dead_letter_id", "dead_letter_id"),
)

_ACTION = "SELECT FROM actions WHERE actions.dead_letter_id = dead_letters.dead_letter_id"
RETENTION = Retention(
    "dead_letters",
    key="dead_letter_id",
    made_at="first_failed_at",
    over=f"""CASE status
        WHEN 'discarded' THEN NOT EXISTS ({_ACTION} AND at >= :before)
        WHEN 'redriven' THEN last_failed_at < :before AND EXISTS ({_ACTION} AND at < :before)
            AND NOT EXISTS (
                SELECT FROM outbox WHERE published_at IS NULL AND discarded_at IS NULL AND created_at < :before
            )
        ELSE false END""",
    deletes={
        "actions": "dead_letter_id = ANY(ARRAY(SELECT dead_letter_id FROM old))",
        "dead_letters": "dead_letter_id = ANY(ARRAY(SELECT dead_letter_id FROM old))",
    },
)
"""A parked dead letter is open and kept at any age. A redriven one is closed if it does not return. Its age is that of
the first redrive, however often that is repeated: the consumer's receipt, which a repetition needs, is kept longer."""
