"""Who ordered when, and what was made of it."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "sightings",
        sa.Column("order_id", sa.Text, primary_key=True),
        sa.Column("customer_id", sa.Text, nullable=False),
        sa.Column("placed_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("sightings_by_customer", "sightings", ["customer_id", "placed_at", "order_id"])
    op.create_table(
        "assessments",
        sa.Column("order_id", sa.Text, primary_key=True),
        sa.Column("score", sa.Integer, nullable=False),
        sa.Column("suspicious", sa.Boolean, nullable=False),
        sa.Column("rules", sa.ARRAY(sa.Text), nullable=False),
    )
