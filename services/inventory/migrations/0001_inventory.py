"""Creates the tables of inventory and the initial stock."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

PLENTY = 1_000_000
STOCK = {
    "mug": PLENTY,
    "beans-1kg": PLENTY,
    "beans-250g": PLENTY,
    "filter-100": PLENTY,
    "notebook": PLENTY,
    "pencil": PLENTY,
    "espresso-machine": PLENTY,
    "limited-print": 20,
    "sold-out-poster": 0,
}


def upgrade() -> None:
    stock = op.create_table(
        "stock",
        sa.Column("product_id", sa.Text, primary_key=True),
        sa.Column("initial", sa.Integer, nullable=False),
        sa.Column("on_hand", sa.Integer, nullable=False),
        sa.CheckConstraint("on_hand >= 0", name="stock_is_never_negative"),
    )
    op.create_table(
        "reservations",
        sa.Column("order_id", sa.Text, primary_key=True),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "reservation_lines",
        sa.Column("order_id", sa.Text, sa.ForeignKey("reservations.order_id"), primary_key=True),
        sa.Column("product_id", sa.Text, primary_key=True),
        sa.Column("quantity", sa.Integer, nullable=False),
        sa.CheckConstraint("quantity > 0", name="quantity_is_positive"),
    )
    op.bulk_insert(
        stock, [{"product_id": name, "initial": units, "on_hand": units} for name, units in STOCK.items()]
    )
