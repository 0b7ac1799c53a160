"""Creates the tables of fraud."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table("customers", sa.Column("customer_id", sa.Text, primary_key=True))
    op.create_table(
        "orders_seen",
        sa.Column("order_id", sa.Text, primary_key=True),
        sa.Column("customer_id", sa.Text, nullable=False),
        sa.Column("placed_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("orders_seen_by_customer", "orders_seen", ["customer_id", "placed_at", "order_id"])
    op.create_table(
        "assessments",
        sa.Column("order_id", sa.Text, primary_key=True),
        sa.Column("score", sa.Integer, nullable=False),
        sa.Column("suspicious", sa.Boolean, nullable=False),
        sa.Column("rules", sa.ARRAY(sa.Text), nullable=False),
        sa.Column("assessment_version", sa.Integer, nullable=False, server_default="1"),
    )
