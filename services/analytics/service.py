"""Counts sales, and how many orders reached each step, by event time. A read model: replay rebuilds it."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.service import Service
from schemas import OrderCancelled, OrderConfirmed, OrderPlaced, OrderShipped, PaymentProcessed
from services.analytics.tables import INSERT_LINES, INSERT_SALES, INSERT_STEPS, RETENTION, metadata

service = Service("analytics", metadata, read_model=True, gather_ms=500, retention=[RETENTION])

PAYMENT_STEPS = {"authorized": "paid", "declined": "declined"}


@service.on(OrderPlaced)
async def count_placed(orders: Sequence[OrderPlaced], db: AsyncConnection) -> None:
    await INSERT_STEPS.of_rows(db, [step(order.order_id, "placed", order.time) for order in orders])
    if lines := [line for order in orders for line in lines_of(order)]:
        await INSERT_LINES.of_rows(db, lines)


@service.on(PaymentProcessed)
async def count_payments(payments: Sequence[PaymentProcessed], db: AsyncConnection) -> None:
    await INSERT_STEPS.of_rows(db, [step(p.order_id, PAYMENT_STEPS[p.outcome], p.time) for p in payments])


@service.on(OrderConfirmed)
async def count_sales(orders: Sequence[OrderConfirmed], db: AsyncConnection) -> None:
    await INSERT_STEPS.of_rows(db, [step(order.order_id, "confirmed", order.time) for order in orders])
    await INSERT_SALES.of_rows(db, [sale(order) for order in orders])


@service.on(OrderCancelled)
async def count_cancelled(orders: Sequence[OrderCancelled], db: AsyncConnection) -> None:
    await INSERT_STEPS.of_rows(db, [step(order.order_id, "cancelled", order.time) for order in orders])


@service.on(OrderShipped)
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
