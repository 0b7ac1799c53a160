"""Analytics counts what sold, and how far orders got, by event time. A read model: replay rebuilds it."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import CheckConstraint, Column, Index, Table
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import BigInteger, DateTime, Integer, Text

from chassis.service import Service
from chassis.statements import insert_rows
from schemas import OrderCancelled, OrderConfirmed, OrderPlaced, OrderShipped, PaymentProcessed

analytics = Service("analytics", read_model=True, gather_ms=500)

# Each fact has rows of its own, which nothing changes later: so it does not matter who is heard first,
# and no two topics ever wait for each other's locks. What belongs together is joined when it is asked for.
steps = Table(
    "steps",
    analytics.metadata,
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
    analytics.metadata,
    Column("order_id", Text, primary_key=True),
    Column("product_id", Text, primary_key=True),
    Column("units", Integer, nullable=False),
    Column("revenue_cents", BigInteger, nullable=False),
)

sales = Table(
    "sales",
    analytics.metadata,
    Column("order_id", Text, primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("currency", Text, nullable=False),
    Column("revenue_cents", BigInteger, nullable=False),
    Index("sales_by_time", "at"),
)


INSERT_STEPS, INSERT_LINES, INSERT_SALES = map(insert_rows, (steps, order_lines, sales))
PAYMENT_STEPS = {"authorized": "paid", "declined": "declined"}


@analytics.on(OrderPlaced)
async def count_placed(orders: Sequence[OrderPlaced], db: AsyncConnection) -> None:
    await INSERT_STEPS.of_rows(db, [step(order.order_id, "placed", order.time) for order in orders])
    if lines := [line for order in orders for line in lines_of(order)]:
        await INSERT_LINES.of_rows(db, lines)


@analytics.on(PaymentProcessed)
async def count_payments(payments: Sequence[PaymentProcessed], db: AsyncConnection) -> None:
    await INSERT_STEPS.of_rows(db, [step(p.order_id, PAYMENT_STEPS[p.outcome], p.time) for p in payments])


@analytics.on(OrderConfirmed)
async def count_sales(orders: Sequence[OrderConfirmed], db: AsyncConnection) -> None:
    await INSERT_STEPS.of_rows(db, [step(order.order_id, "confirmed", order.time) for order in orders])
    await INSERT_SALES.of_rows(db, [sale(order) for order in orders])


@analytics.on(OrderCancelled)
async def count_cancelled(orders: Sequence[OrderCancelled], db: AsyncConnection) -> None:
    await INSERT_STEPS.of_rows(db, [step(order.order_id, "cancelled", order.time) for order in orders])


@analytics.on(OrderShipped)
async def count_shipped(orders: Sequence[OrderShipped], db: AsyncConnection) -> None:
    await INSERT_STEPS.of_rows(db, [step(order.order_id, "shipped", order.time) for order in orders])


def step(order_id: str, name: str, at: datetime) -> dict[str, object]:
    return {"order_id": order_id, "step": name, "at": at}


def lines_of(order: OrderPlaced) -> list[dict[str, object]]:
    return [
        {
            "order_id": order.order_id,
            "product_id": line.product_id,
            "units": line.quantity,
            "revenue_cents": line.quantity * line.unit_price_cents,
        }
        for line in order.lines
    ]


def sale(order: OrderConfirmed) -> dict[str, object]:
    return {
        "order_id": order.order_id,
        "at": order.time,
        "currency": order.currency,
        "revenue_cents": order.total_cents,
    }
