"""Creates the tables of dead letters and of the actions on them."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "dead_letters",
        sa.Column("dead_letter_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("consumer", sa.Text, nullable=False),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("partition", sa.Integer, nullable=False),
        sa.Column("kafka_offset", sa.BigInteger, nullable=False),
        sa.Column("record_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event_id", sa.Uuid),
        sa.Column("type", sa.Text),
        sa.Column("key", sa.LargeBinary),
        sa.Column("value", sa.LargeBinary),
        sa.Column("headers", sa.Text, nullable=False),
        sa.Column("event", sa.Text),
        sa.Column("decode_error", sa.Text),
        sa.Column("failure", sa.Text, nullable=False),
        sa.Column("error_type", sa.Text, nullable=False),
        sa.Column("error_message", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("first_failed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_failed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("redrive", sa.Integer, nullable=False),
        sa.UniqueConstraint(
            "consumer", "topic", "partition", "kafka_offset", name="dead_letters_once_per_record"
        ),
        sa.CheckConstraint("status IN ('parked', 'redriven', 'discarded')", name="status_is_known"),
    )
    op.create_index(
        "dead_letters_parked",
        "dead_letters",
        ["dead_letter_id"],
        postgresql_where=sa.text("status = 'parked'"),
    )
    op.create_table(
        "actions",
        sa.Column("action_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column(
            "dead_letter_id", sa.BigInteger, sa.ForeignKey("dead_letters.dead_letter_id"), nullable=False
        ),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.clock_timestamp()),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("what", sa.Text, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("redrive", sa.Integer, nullable=False),
        sa.Column("correction", sa.Text),
        sa.CheckConstraint("what IN ('redriven', 'discarded')", name="action_is_known"),
        sa.CheckConstraint("who <> '' AND why <> ''", name="who_and_why_are_given"),
    )
    op.create_index("actions_dead_letter_id", "actions", ["dead_letter_id"])
