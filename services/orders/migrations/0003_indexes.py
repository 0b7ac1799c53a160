"""Adds an index for each filter of the list of orders: by status, and by whether they were flagged."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_index("orders_by_status", "orders", ["status", "order_id"])
    op.drop_index("orders_flagged", "orders")
    assessed = sa.text("flagged IS NOT NULL")
    op.create_index("orders_flagged", "orders", ["flagged", "order_id"], postgresql_where=assessed)
