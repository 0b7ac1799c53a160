"""Tells dead letters of a topic from those of the topic of the same name before it: their records' times differ."""

from alembic import op

revision = "0002"
down_revision = "0001"

RECORD = ["consumer", "topic", "partition", "kafka_offset", "record_at"]


def upgrade() -> None:
    op.drop_constraint("dead_letters_once_per_record", "dead_letters")
    op.create_unique_constraint("dead_letters_once_per_record", "dead_letters", RECORD)
