"""Drops the indexes of `outbox` that no query needs: each of them is written twice for every event."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.drop_constraint("outbox_event_id_key", "outbox")
    op.drop_constraint("outbox_one_fact_per_version", "outbox")
    op.drop_index("outbox_aggregate", "outbox")
    op.create_unique_constraint(
        "outbox_one_fact_per_version", "outbox", ["aggregate_id", "topic", "aggregate_version"]
    )
