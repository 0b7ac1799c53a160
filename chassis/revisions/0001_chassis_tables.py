"""Creates the chassis' tables: outbox, inbox, consumer offsets, and those for parking, crashes, relays, retention."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

TIMESTAMP = sa.DateTime(timezone=True)
NOW = sa.func.clock_timestamp()
UNSENT = sa.text("published_at IS NULL AND set_aside_at IS NULL")
REFUSED = sa.text("set_aside_at IS NOT NULL AND discarded_at IS NULL")


def upgrade() -> None:
    create_outbox()
    create_relay_terms()
    create_inbox()
    create_consumer_offsets()
    create_subscriptions()
    create_parked()
    create_held_partitions()
    create_crash_markers()
    create_idempotency_keys()
    create_purges()


def create_outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("event_id", sa.Uuid, nullable=False),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("type", sa.Text),
        sa.Column("aggregate_id", sa.Text),
        sa.Column("aggregate_version", sa.Integer),
        sa.Column("key", sa.LargeBinary),
        sa.Column("payload", sa.LargeBinary),
        sa.Column("schema_version", sa.Integer),
        sa.Column("headers", sa.Text, nullable=False),
        sa.Column("created_at", TIMESTAMP, nullable=False, server_default=NOW),
        sa.Column("published_at", TIMESTAMP),
        sa.Column("kafka_partition", sa.Integer),
        sa.Column("kafka_offset", sa.BigInteger),
        sa.Column("set_aside_at", TIMESTAMP),
        sa.Column("error_type", sa.Text),
        sa.Column("error_message", sa.Text),
        sa.Column("discarded_at", TIMESTAMP),
        sa.Column("discarded_by", sa.Text),
        sa.Column("discard_reason", sa.Text),
        sa.UniqueConstraint("aggregate_id", "topic", "aggregate_version", name="outbox_one_fact_per_version"),
    )
    op.create_index("outbox_unsent", "outbox", ["id"], postgresql_where=UNSENT)
    op.create_index("outbox_set_aside", "outbox", ["id"], postgresql_where=REFUSED)
    op.create_index(
        "outbox_set_aside_key", "outbox", ["key"], postgresql_where=REFUSED, postgresql_using="hash"
    )


def create_relay_terms() -> None:
    op.create_table(
        "relay_terms",
        sa.Column("term", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("renewed_at", TIMESTAMP, nullable=False),
    )


def create_inbox() -> None:
    op.create_table(
        "inbox",
        sa.Column("consumer", sa.Text, nullable=False),
        sa.Column("event_id", sa.Uuid, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("redrive", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("received_at", TIMESTAMP, nullable=False, server_default=NOW),
        sa.PrimaryKeyConstraint("consumer", "event_id"),
        sa.CheckConstraint("status IN ('applied', 'parked')", name="inbox_status_is_known"),
    )
    op.create_index("inbox_received_at", "inbox", ["received_at"], postgresql_using="brin")


def create_consumer_offsets() -> None:
    op.create_table(
        "consumer_offsets",
        sa.Column("consumer", sa.Text, nullable=False),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("partition", sa.Integer, nullable=False),
        sa.Column("next_offset", sa.BigInteger, nullable=False),
        sa.Column("received", sa.BigInteger, nullable=False),
        sa.Column("applied", sa.BigInteger, nullable=False),
        sa.Column("duplicates", sa.BigInteger, nullable=False),
        sa.Column("parked", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("consumer", "topic", "partition"),
        sa.CheckConstraint("received = applied + duplicates + parked", name="consumer_offsets_add_up"),
    )


def create_subscriptions() -> None:
    op.create_table(
        "subscriptions",
        sa.Column("consumer", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("topic", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("consumer", "type"),
    )


def create_parked() -> None:
    op.create_table(
        "parked",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("consumer", sa.Text, nullable=False),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("partition", sa.Integer, nullable=False),
        sa.Column("kafka_offset", sa.BigInteger, nullable=False),
        sa.Column("event_id", sa.Uuid),
        sa.Column("type", sa.Text),
        sa.Column("key", sa.LargeBinary),
        sa.Column("value", sa.LargeBinary),
        sa.Column("headers", sa.Text, nullable=False),
        sa.Column("record_at", TIMESTAMP, nullable=False),
        sa.Column("failure", sa.Text, nullable=False),
        sa.Column("error_type", sa.Text, nullable=False),
        sa.Column("error_message", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("first_failed_at", TIMESTAMP, nullable=False),
        sa.Column("last_failed_at", TIMESTAMP, nullable=False, server_default=NOW),
        sa.UniqueConstraint("consumer", "topic", "partition", "kafka_offset", name="parked_once_per_record"),
    )


def create_held_partitions() -> None:
    op.create_table(
        "held_partitions",
        sa.Column("consumer", sa.Text, nullable=False),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("partition", sa.Integer, nullable=False),
        sa.Column("kafka_offset", sa.BigInteger, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("since", TIMESTAMP, nullable=False, server_default=NOW),
        sa.PrimaryKeyConstraint("consumer", "topic", "partition"),
    )


def create_crash_markers() -> None:
    op.create_table(
        "crash_markers",
        sa.Column("consumer", sa.Text, nullable=False),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("partition", sa.Integer, nullable=False),
        sa.Column("kafka_offset", sa.BigInteger, nullable=False),
        sa.Column("times", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("consumer", "topic", "partition"),
    )


def create_idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("body", sa.LargeBinary),
        sa.Column("created_at", TIMESTAMP, nullable=False, server_default=NOW),
    )
    op.create_index(
        "idempotency_keys_created_at", "idempotency_keys", ["created_at"], postgresql_using="brin"
    )


def create_purges() -> None:
    op.create_table(
        "purges",
        sa.Column("what", sa.Text, primary_key=True),
        sa.Column("before", TIMESTAMP, nullable=False),
        sa.Column("purged", sa.BigInteger, nullable=False),
    )
