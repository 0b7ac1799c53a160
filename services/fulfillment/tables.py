"""The table of fulfillment, and the statements that collect what is known of an order and ship it."""

from sqlalchemy import Column, MetaData, Table, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.types import JSON, DateTime, Text

from chassis.database import Statement, arrays
from chassis.purging import Retention

metadata = MetaData()

shipments = Table(
    "shipments",
    metadata,
    Column("order_id", Text, primary_key=True),
    Column("customer_id", Text, nullable=False),
    Column("contents", JSON),
    Column("placed_at", DateTime(timezone=True)),
    Column("confirmed_at", DateTime(timezone=True)),
    Column("cancelled_at", DateTime(timezone=True)),
    Column("shipped_at", DateTime(timezone=True)),
    Column("shipment_id", Text),
    Column("tracking_code", Text),
)

RETENTION = Retention(
    "shipments",
    key="order_id",
    over="placed_at IS NOT NULL AND (shipped_at < :before OR cancelled_at < :before)",
)
"""A shipment is over when all that is ever told of its order is known. Others wait for an event, maybe a parked one."""


def collect(*names: str) -> Statement:
    """Returns a statement that adds these columns to the orders' rows, locks the rows and returns them."""
    columns = ("order_id", "customer_id", *names)
    given = arrays(shipments, *columns)
    new = insert(shipments).from_select(columns, select(given))
    added = {name: new.excluded[name] for name in columns[1:]}
    collected = new.on_conflict_do_update(index_elements=["order_id"], set_=added)
    return Statement(collected.returning(*shipments.c))


COLLECT = {
    frozenset(("order_id", "customer_id", *names)): collect(*names)
    for names in (("contents", "placed_at"), ("confirmed_at",), ("cancelled_at",))
}
_shipped = arrays(shipments, "order_id", "shipment_id", "tracking_code", "shipped_at")
SHIP_ORDERS = Statement(
    update(shipments)
    .where(shipments.c.order_id == _shipped.c.order_id)
    .values({name: _shipped.c[name] for name in ("shipment_id", "tracking_code", "shipped_at")})
)
