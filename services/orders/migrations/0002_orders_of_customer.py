"""Lets a customer's own orders be listed without reading everybody's."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_index("orders_of_customer", "orders", ["customer_id", "order_id"])
