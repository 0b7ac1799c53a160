"""Tables of fraud, and the statement that stores orders and locks their customers."""

from sqlalchemy import Column, Index, MetaData, Table, bindparam, text
from sqlalchemy.types import ARRAY, Boolean, DateTime, Integer, Text

from chassis.purging import Retention

metadata = MetaData()

customers = Table("customers", metadata, Column("customer_id", Text, primary_key=True))
"""One row per customer, locked while orders of that customer are assessed."""

orders_seen = Table(
    "orders_seen",
    metadata,
    Column("order_id", Text, primary_key=True),
    Column("customer_id", Text, nullable=False),
    Column("placed_at", DateTime(timezone=True), nullable=False),
    Index("orders_seen_by_customer", "customer_id", "placed_at", "order_id"),
)

assessments = Table(
    "assessments",
    metadata,
    Column("order_id", Text, primary_key=True),
    Column("score", Integer, nullable=False),
    Column("suspicious", Boolean, nullable=False),
    Column("rules", ARRAY(Text), nullable=False),
    Column("assessment_version", Integer, nullable=False, server_default="1"),
)

RETENTION = Retention(
    "orders_seen",
    key="order_id",
    over="""placed_at < :before
        AND EXISTS (SELECT FROM assessments WHERE assessments.order_id = orders_seen.order_id)""",
    deletes={
        "customers": """customer_id = ANY(ARRAY(
            SELECT customer_id FROM customers WHERE customer_id = ANY(ARRAY(
                SELECT customer_id FROM orders_seen WHERE order_id = ANY(ARRAY(SELECT order_id FROM old))
            )) AND NOT EXISTS (
                SELECT FROM orders_seen AS later
                WHERE later.customer_id = customers.customer_id AND later.placed_at >= :before
            ) FOR UPDATE SKIP LOCKED
        ))""",
        "assessments": "order_id = ANY(ARRAY(SELECT order_id FROM old))",
        "orders_seen": "order_id = ANY(ARRAY(SELECT order_id FROM old))",
    },
)
"""Old sightings are of no use to later orders, which look back ten minutes. A customer who placed no
later ones goes with them: the row is there to be locked, and inserted again when the customer places an order."""

# Locks the customers' rows in the order of their ids, to avoid deadlocks.
STORE_ORDERS = text("""
    WITH locked AS (
        INSERT INTO customers (customer_id) SELECT unnest(:customers)
        ON CONFLICT (customer_id) DO UPDATE SET customer_id = excluded.customer_id
    )
    INSERT INTO orders_seen (order_id, customer_id, placed_at)
    SELECT * FROM unnest(:order_ids, :customer_ids, :placed_at)
""").bindparams(
    bindparam("customers", type_=ARRAY(Text)),
    bindparam("order_ids", type_=ARRAY(Text)),
    bindparam("customer_ids", type_=ARRAY(Text)),
    bindparam("placed_at", type_=ARRAY(DateTime(timezone=True))),
)
