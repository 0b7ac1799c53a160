"""Leaves room in each page of shipments: a row is updated twice within seconds, on its own page (HOT)."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("ALTER TABLE shipments SET (fillfactor = 60)")
