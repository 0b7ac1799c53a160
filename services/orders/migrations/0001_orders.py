"""Creates the tables of orders and the products."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

PRODUCTS = [
    ("mug", "Mug that never spills (a lie)", 14_90),
    ("beans-1kg", "Coffee beans 'Eventual', 1 kg", 18_50),
    ("beans-250g", "Coffee beans 'Exactly Once', 250 g", 6_20),
    ("filter-100", "Paper filters, 100 pieces", 3_80),
    ("notebook", "Notebook, append-only", 9_00),
    ("pencil", "Pencil with a very small eraser", 1_20),
    ("espresso-machine", "Espresso machine 'Backpressure'", 649_00),
    ("limited-print", "Screen print 'Ordering', 20 copies", 45_00),
    ("sold-out-poster", "Poster 'At Most Once'", 25_00),
]


def upgrade() -> None:
    products = op.create_table(
        "products",
        sa.Column("product_id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("price_cents", sa.BigInteger, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
    )
    op.create_table(
        "orders",
        sa.Column("order_id", sa.Text, primary_key=True),
        sa.Column("customer_id", sa.Text, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("total_cents", sa.BigInteger, nullable=False),
        sa.Column("payment_method", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("cancel_reason", sa.Text),
        sa.Column("payment", sa.Text, nullable=False),
        sa.Column("payment_version", sa.Integer, nullable=False),
        sa.Column("payment_at", sa.DateTime(timezone=True)),
        sa.Column("stock", sa.Text, nullable=False),
        sa.Column("stock_version", sa.Integer, nullable=False),
        sa.Column("stock_at", sa.DateTime(timezone=True)),
        sa.Column("fraud_score", sa.Integer),
        sa.Column("flagged", sa.Boolean),
        sa.Column("assessment_version", sa.Integer, nullable=False, server_default="0"),
        sa.Column("placed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True)),
        sa.Column("shipped_at", sa.DateTime(timezone=True)),
        postgresql_with={"fillfactor": 50},  # room for the four updates of a row on its own page (HOT)
    )
    op.create_index("orders_flagged", "orders", ["order_id"], postgresql_where=sa.text("flagged"))
    op.create_table(
        "order_lines",
        sa.Column("order_id", sa.Text, sa.ForeignKey("orders.order_id"), primary_key=True),
        sa.Column("product_id", sa.Text, primary_key=True),
        sa.Column("quantity", sa.Integer, nullable=False),
        sa.Column("unit_price_cents", sa.BigInteger, nullable=False),
    )
    names = ("product_id", "name", "price_cents")
    op.bulk_insert(products, [{**dict(zip(names, row, strict=True)), "currency": "EUR"} for row in PRODUCTS])
