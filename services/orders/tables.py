"""Tables of orders, and the statements that lock and save an order's row."""

from dataclasses import fields

from sqlalchemy import Column, ForeignKey, Index, MetaData, Table, any_, select, text, update
from sqlalchemy.types import BigInteger, Boolean, DateTime, Integer, Text

from chassis.database import Statement, arrays, ids, insert_rows
from services.orders.domain import Order

metadata = MetaData()

products = Table(
    "products",
    metadata,
    Column("product_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("price_cents", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
)

orders = Table(
    "orders",
    metadata,
    Column("order_id", Text, primary_key=True),
    Column("customer_id", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("total_cents", BigInteger, nullable=False),
    Column("payment_method", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("cancel_reason", Text),
    Column("payment", Text, nullable=False),
    Column("payment_version", Integer, nullable=False),
    Column("payment_at", DateTime(timezone=True)),
    Column("stock", Text, nullable=False),
    Column("stock_version", Integer, nullable=False),
    Column("stock_at", DateTime(timezone=True)),
    Column("fraud_score", Integer),
    Column("flagged", Boolean),
    Column("assessment_version", Integer, nullable=False, server_default="0"),
    Column("placed_at", DateTime(timezone=True), nullable=False),
    Column("decided_at", DateTime(timezone=True)),
    Column("shipped_at", DateTime(timezone=True)),
    Index("orders_by_status", "status", "order_id"),
    Index("orders_flagged", "flagged", "order_id", postgresql_where=text("flagged IS NOT NULL")),
    Index("orders_of_customer", "customer_id", "order_id"),
)

order_lines = Table(
    "order_lines",
    metadata,
    Column("order_id", Text, ForeignKey("orders.order_id"), primary_key=True),
    Column("product_id", Text, primary_key=True),
    Column("quantity", Integer, nullable=False),
    Column("unit_price_cents", BigInteger, nullable=False),
)

STATE = [field.name for field in fields(Order)]
"""Columns that make up the domain's Order."""

INSERT_ORDERS = insert_rows(orders, *STATE, "payment_method", "placed_at")
INSERT_LINES = insert_rows(order_lines)
LOCK_ORDERS = Statement(
    select(*(orders.c[name] for name in STATE))
    .where(orders.c.order_id == any_(ids()))
    .order_by(orders.c.order_id)
    .with_for_update()
)
_changed = arrays(orders, *STATE)
SAVE_ORDERS = Statement(
    update(orders)
    .where(orders.c.order_id == _changed.c.order_id)
    .values({name: _changed.c[name] for name in STATE if name != "order_id"})
)
_assessed = arrays(orders, "order_id", "assessment_version", "fraud_score", "flagged")
SAVE_ASSESSMENTS = Statement(
    update(orders)
    .where(orders.c.order_id == _assessed.c.order_id)
    .where(orders.c.assessment_version < _assessed.c.assessment_version)
    .values({name: _assessed.c[name] for name in ("assessment_version", "fraud_score", "flagged")})
)
