"""Creates the table of fulfillment."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "shipments",
        sa.Column("order_id", sa.Text, primary_key=True),
        sa.Column("customer_id", sa.Text, nullable=False),
        sa.Column("contents", sa.JSON),
        sa.Column("placed_at", sa.DateTime(timezone=True)),
        sa.Column("confirmed_at", sa.DateTime(timezone=True)),
        sa.Column("cancelled_at", sa.DateTime(timezone=True)),
        sa.Column("shipped_at", sa.DateTime(timezone=True)),
        sa.Column("shipment_id", sa.Text),
        sa.Column("tracking_code", sa.Text),
        postgresql_with={"fillfactor": 60},  # room for the two updates of a row on its own page (HOT)
    )
