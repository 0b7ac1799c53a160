"""Tells a topic from one of the same name that was made after it, and counts what a consumer was too late to read.

Rows from before have no topic id: they belong to the oldest topic of their name. A parked record is known by Kafka's
time as well as by its offset, because a topic that is made anew counts from 0 again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("outbox", sa.Column("topic_id", sa.Uuid))
    op.add_column("consumer_offsets", sa.Column("topic_id", sa.Uuid))
    op.add_column("consumer_offsets", sa.Column("lost", sa.BigInteger, nullable=False, server_default="0"))
    op.create_table(
        "topic_ids",
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("topic_id", sa.Uuid, nullable=False),
        sa.Column(
            "first_seen_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.func.clock_timestamp(),
        ),
        sa.PrimaryKeyConstraint("topic", "topic_id"),
    )
    op.drop_constraint("parked_once_per_record", "parked")
    op.create_unique_constraint(
        "parked_once_per_record", "parked", ["consumer", "topic", "partition", "kafka_offset", "record_at"]
    )
