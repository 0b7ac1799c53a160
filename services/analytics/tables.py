"""Tables of analytics: the steps that each order has taken, its lines, and its sale."""

from sqlalchemy import CheckConstraint, Column, Index, MetaData, Table
from sqlalchemy.types import BigInteger, DateTime, Integer, Text

from chassis.database import insert_rows
from chassis.purging import Retention

metadata = MetaData()

# Each event inserts rows of its own, which no other event changes. So events may arrive in any order, and
# consumers of different topics never wait for each other's locks. Queries join the rows.
steps = Table(
    "steps",
    metadata,
    Column("order_id", Text, primary_key=True),
    Column("step", Text, primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False),
    CheckConstraint(
        "step IN ('placed', 'paid', 'declined', 'confirmed', 'shipped', 'cancelled')", name="step_is_known"
    ),
    Index("steps_by_time", "step", "at"),
)

order_lines = Table(
    "order_lines",
    metadata,
    Column("order_id", Text, primary_key=True),
    Column("product_id", Text, primary_key=True),
    Column("units", Integer, nullable=False),
    Column("revenue_cents", BigInteger, nullable=False),
)

sales = Table(
    "sales",
    metadata,
    Column("order_id", Text, primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("currency", Text, nullable=False),
    Column("revenue_cents", BigInteger, nullable=False),
    Index("sales_by_time", "at"),
)

RETENTION = Retention(
    "steps",
    key="order_id",
    over="""step = 'placed' AND at < :before
        AND EXISTS (
            SELECT FROM steps AS last WHERE last.order_id = steps.order_id AND last.step IN ('shipped', 'cancelled')
        )
        AND NOT EXISTS (SELECT FROM steps AS last WHERE last.order_id = steps.order_id AND last.at >= :before)""",
    deletes={
        "sales": "order_id = ANY(ARRAY(SELECT order_id FROM old))",
        "order_lines": "order_id = ANY(ARRAY(SELECT order_id FROM old))",
        "steps": "order_id = ANY(ARRAY(SELECT order_id FROM old))",
    },
)
"""An order that was shipped or cancelled is over, and all that is known of it goes at once, so that sales, lines and
steps agree."""

INSERT_STEPS, INSERT_LINES, INSERT_SALES = map(insert_rows, (steps, order_lines, sales))
