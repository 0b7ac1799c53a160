"""Confirms or cancels each order once payment and stock are both known, in whatever order their events arrive."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.errors import PermanentFailure
from chassis.outbox.publish import publish
from chassis.service import Service
from chassis.timestamps import milliseconds
from schemas import (
    Event,
    FraudAssessed,
    OrderCancelled,
    OrderConfirmed,
    OrderShipped,
    PaymentProcessed,
    StockRejected,
    StockReserved,
)
from services.orders.domain import Order, apply_payment, apply_stock, ship
from services.orders.tables import LOCK_ORDERS, SAVE_ASSESSMENTS, SAVE_ORDERS, metadata

service = Service("orders", metadata, topic="orders")

E = TypeVar("E", bound=Event)


@service.on(PaymentProcessed)
async def apply_payments(payments: Sequence[PaymentProcessed], db: AsyncConnection) -> None:
    await change(
        db, payments, lambda order, it: apply_payment(order, it.outcome, it.payment_version, it.time)
    )


@service.on(StockReserved)
async def apply_reservations(reserved: Sequence[StockReserved], db: AsyncConnection) -> None:
    await change(
        db, reserved, lambda order, it: apply_stock(order, "reserved", it.reservation_version, it.time)
    )


@service.on(StockRejected)
async def apply_rejections(rejected: Sequence[StockRejected], db: AsyncConnection) -> None:
    await change(
        db, rejected, lambda order, it: apply_stock(order, "rejected", it.reservation_version, it.time)
    )


@service.on(OrderShipped)
async def apply_shipments(shipped: Sequence[OrderShipped], db: AsyncConnection) -> None:
    await change(db, shipped, lambda order, it: ship(order, it.time))


@service.on(FraudAssessed)
async def apply_assessments(assessments: Sequence[FraudAssessed], db: AsyncConnection) -> None:
    """Stores the latest version of each assessment; an assessment decides nothing about its order."""
    await lock(db, [each.order_id for each in assessments])
    latest = {each.order_id: each for each in sorted(assessments, key=lambda each: each.assessment_version)}
    await SAVE_ASSESSMENTS.of_rows(db, [assessment_row(each) for each in latest.values()])


def assessment_row(assessment: FraudAssessed) -> dict[str, object]:
    return {
        "order_id": assessment.order_id,
        "assessment_version": assessment.assessment_version,
        "fraud_score": assessment.score,
        "flagged": assessment.suspicious,
    }


async def change(db: AsyncConnection, events: Sequence[E], apply: Callable[[Order, E], Order]) -> None:
    """Applies each event to its order, in their order, and saves the orders that changed."""
    before = await lock(db, [event.key for event in events])
    after = dict(before)
    for event in events:
        after[event.key] = apply(after[event.key], event)
    await save(db, before, after)


async def lock(db: AsyncConnection, order_ids: Iterable[str]) -> dict[str, Order]:
    """Returns the orders by id and locks their rows, in the order of their ids to avoid deadlocks.

    Raises UnknownOrder if one of them does not exist.
    """
    wanted = sorted(set(order_ids))
    rows = await LOCK_ORDERS(db, ids=wanted)
    found = {row.order_id: Order(**row) for row in rows}
    if missing := [order_id for order_id in wanted if order_id not in found]:
        raise UnknownOrder(f"no such order: {', '.join(missing)}")
    return found


class UnknownOrder(PermanentFailure):
    """An event names an order that is not in the table."""


async def save(db: AsyncConnection, before: Mapping[str, Order], after: Mapping[str, Order]) -> None:
    """Writes the orders that changed and publishes the decisions among these changes."""
    changed = [order for order_id, order in after.items() if order != before[order_id]]
    if changed:
        await SAVE_ORDERS.of_rows(db, [vars(order) for order in changed])
    decided = [order for order in changed if before[order.order_id].status == "placed" != order.status]
    await publish(db, [decision(order) for order in decided])


def decision(order: Order) -> OrderConfirmed | OrderCancelled:
    """Returns the event that says how the order was decided."""
    assert order.decided_at is not None
    occurred_at = milliseconds(order.decided_at)
    if order.cancel_reason:
        return OrderCancelled(
            order_id=order.order_id,
            order_version=order.version,
            customer_id=order.customer_id,
            reason=order.cancel_reason,
            occurred_at=occurred_at,
        )
    return OrderConfirmed(
        order_id=order.order_id,
        order_version=order.version,
        customer_id=order.customer_id,
        total_cents=order.total_cents,
        currency=order.currency,
        occurred_at=occurred_at,
    )
