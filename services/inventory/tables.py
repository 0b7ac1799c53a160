"""Tables of inventory, and the statements that lock and change stock and reservations."""

from sqlalchemy import CheckConstraint, Column, ForeignKey, MetaData, Table, any_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.types import DateTime, Integer, Text

from chassis.database import Statement, arrays, ids, insert_rows
from chassis.purging import Retention

metadata = MetaData()

stock = Table(
    "stock",
    metadata,
    Column("product_id", Text, primary_key=True),
    Column("initial", Integer, nullable=False),
    Column("on_hand", Integer, nullable=False),
    CheckConstraint("on_hand >= 0", name="stock_is_never_negative"),
)

reservations = Table(
    "reservations",
    metadata,
    Column("order_id", Text, primary_key=True),
    Column("status", Text, nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False),
)

reservation_lines = Table(
    "reservation_lines",
    metadata,
    Column("order_id", Text, ForeignKey("reservations.order_id"), primary_key=True),
    Column("product_id", Text, primary_key=True),
    Column("quantity", Integer, nullable=False),
    CheckConstraint("quantity > 0", name="quantity_is_positive"),
)

RETENTION = Retention(
    "reservations",
    key="order_id",
    over="status IN ('released', 'rejected') AND changed_at < :before",
    deletes={
        "reservation_lines": "order_id = ANY(ARRAY(SELECT order_id FROM old))",
        "reservations": "order_id = ANY(ARRAY(SELECT order_id FROM old))",
    },
)
"""A reservation that holds stock stays: the stock is counted by it. A void one stays, as its order may still come."""

_requested = arrays(reservations)
OPEN_RESERVATIONS = Statement(
    upsert(reservations)
    .from_select(_requested.c.keys(), select(_requested))
    .on_conflict_do_nothing()
    .returning(reservations.c.order_id)
)
_closed = arrays(reservations)
CLOSE_RESERVATIONS = Statement(
    update(reservations)
    .where(reservations.c.order_id == _closed.c.order_id)
    .values(status=_closed.c.status, changed_at=_closed.c.changed_at)
)
INSERT_LINES = insert_rows(reservation_lines)
LOCK_RESERVED_LINES = Statement(
    select(reservation_lines.c.order_id, reservation_lines.c.product_id, reservation_lines.c.quantity)
    .join(reservations)
    .where(reservation_lines.c.order_id == any_(ids()), reservations.c.status == "reserved")
    .order_by(reservation_lines.c.order_id, reservation_lines.c.product_id)
    .with_for_update()
)
LOCK_STOCK = Statement(
    select(stock.c.product_id, stock.c.on_hand)
    .where(stock.c.product_id == any_(ids()))
    .order_by(stock.c.product_id)
    .with_for_update()
)
_moved = arrays(stock, "product_id", "on_hand")
CHANGE_STOCK = Statement(
    update(stock)
    .where(stock.c.product_id == _moved.c.product_id)
    .values(on_hand=stock.c.on_hand + _moved.c.on_hand)
)
