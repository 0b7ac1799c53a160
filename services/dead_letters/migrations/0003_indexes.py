"""Adds an index for each filter of the list of dead letters."""

from alembic import op

revision = "0003"
down_revision = "0002"

FILTERS = ("status", "consumer", "topic", "failure", "error_type")


def upgrade() -> None:
    for column in FILTERS:
        op.create_index(f"dead_letters_by_{column}", "dead_letters", [column, "dead_letter_id"])
    op.create_index("dead_letters_by_time", "dead_letters", ["last_failed_at"])
    op.drop_index("dead_letters_parked", "dead_letters")
