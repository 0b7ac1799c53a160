"""Holds one payment per order: a card is authorized when the order is placed, an invoice waits for `POST /payments`."""

from collections.abc import Iterable, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.outbox.publish import publish
from chassis.service import Service
from chassis.timestamps import milliseconds
from schemas import OrderCancelled, OrderPlaced, PaymentProcessed, PaymentRefunded
from services.payments.domain import Payment, open_payment, payment_id, reverse
from services.payments.tables import (
    INSERT_MOVEMENTS,
    LOCK_PAYMENTS,
    OPEN_PAYMENTS,
    RECOVER_PAYMENTS,
    SAVE_PAYMENTS,
    VOID_UNKNOWN_ORDERS,
    metadata,
)

service = Service("payments", metadata, topic="payments")


@service.on(OrderPlaced)
async def authorize(orders: Sequence[OrderPlaced], db: AsyncConnection) -> None:
    """Opens one payment per order and authorizes cards; an order that was cancelled before is not charged."""
    requested = {order.order_id: request(order) for order in orders}
    rows = await OPEN_PAYMENTS.of_rows(db, [vars(requested[order_id]) for order_id in sorted(requested)])
    await settle(db, [requested[row.order_id] for row in rows if row.status in ("authorized", "declined")])


@service.on(OrderCancelled)
async def refund(cancelled: Sequence[OrderCancelled], db: AsyncConnection) -> None:
    """Refunds what was authorized; stores a voided payment for an order not known yet, so it is never charged."""
    times = {order.order_id: order.time for order in cancelled}
    voided = [void(order) for order in sorted(cancelled, key=lambda order: order.order_id)]
    await VOID_UNKNOWN_ORDERS.of_rows(db, voided)
    before = [payment for payment in await lock(db, times) if payment.status in ("pending", "authorized")]
    await save(db, [reverse(payment, times[payment.order_id]) for payment in before])


@service.on_recovery(PaymentProcessed)
async def recover_outcome(processed: Sequence[PaymentProcessed], db: AsyncConnection) -> None:
    """Stores payments and their movements again as they were published; `authorize` then leaves them alone."""
    known = [paid(event) for event in processed]
    await RECOVER_PAYMENTS.of_rows(db, [vars(payment) for payment in known])
    if authorized := [movement(payment) for payment in known if payment.status == "authorized"]:
        await INSERT_MOVEMENTS.of_rows(db, authorized)


@service.on_recovery(PaymentRefunded)
async def recover_refund(refunded: Sequence[PaymentRefunded], db: AsyncConnection) -> None:
    """Refunds again, without publishing it a second time, what was refunded; `refund` then leaves it alone."""
    before = await lock(db, {event.order_id for event in refunded})
    times = {event.order_id: event.time for event in refunded}
    now_refunded = [reverse(payment, times[payment.order_id]) for payment in before]
    rows = [{"order_id": p.order_id, "status": p.status, "changed_at": p.changed_at} for p in now_refunded]
    await SAVE_PAYMENTS.of_rows(db, rows)
    await INSERT_MOVEMENTS.of_rows(db, [movement(payment) for payment in now_refunded])


def paid(event: PaymentProcessed) -> Payment:
    return Payment(
        order_id=event.order_id,
        payment_id=event.payment_id,
        customer_id=event.customer_id,
        payment_method=event.payment_method,
        amount_cents=event.amount_cents,
        currency=event.currency,
        changed_at=event.time,
        status=event.outcome,
        decline_reason=event.decline_reason,
    )


def request(order: OrderPlaced) -> Payment:
    invoice = Payment(
        order_id=order.order_id,
        payment_id=payment_id(order.order_id),
        customer_id=order.customer_id,
        payment_method=order.payment_method,
        amount_cents=order.total_cents,
        currency=order.currency,
        changed_at=order.time,
    )
    return open_payment(invoice, order.card_token)


def void(order: OrderCancelled) -> dict[str, object]:
    return {
        "order_id": order.order_id,
        "payment_id": payment_id(order.order_id),
        "customer_id": order.customer_id,
        "status": "voided",
        "changed_at": order.time,
    }


async def lock(db: AsyncConnection, order_ids: Iterable[str]) -> list[Payment]:
    """Returns the payments whose terms are known and locks their rows, by order id to avoid deadlocks."""
    rows = await LOCK_PAYMENTS(db, ids=sorted(order_ids))
    return [Payment(**row) for row in rows]


async def save(db: AsyncConnection, changed: Sequence[Payment]) -> None:
    """Writes the new status of each payment and settles it."""
    if changed:
        rows = [{"order_id": p.order_id, "status": p.status, "changed_at": p.changed_at} for p in changed]
        await SAVE_PAYMENTS.of_rows(db, rows)
        await settle(db, changed)


async def settle(db: AsyncConnection, changed: Sequence[Payment]) -> None:
    """Stores each payment's movement of money and publishes its outcome; pending and voided payments have neither."""
    moving = [payment for payment in changed if payment.status in ("authorized", "refunded")]
    if moving:
        await INSERT_MOVEMENTS.of_rows(db, [movement(payment) for payment in moving])
    await publish(
        db, [outcome(payment) for payment in changed if payment.status not in ("pending", "voided")]
    )


def movement(payment: Payment) -> dict[str, object]:
    return {
        "order_id": payment.order_id,
        "kind": "refund" if payment.status == "refunded" else "authorization",
        "amount_cents": payment.amount_cents,
        "moved_at": payment.changed_at,
    }


def outcome(payment: Payment) -> PaymentProcessed | PaymentRefunded:
    """Returns the event that says what became of the payment."""
    occurred_at = milliseconds(payment.changed_at)
    if payment.status == "refunded":
        return PaymentRefunded(
            order_id=payment.order_id,
            payment_version=2,
            payment_id=payment.payment_id,
            customer_id=payment.customer_id,
            amount_cents=payment.amount_cents,
            currency=payment.currency,
            occurred_at=occurred_at,
        )
    return PaymentProcessed(
        order_id=payment.order_id,
        payment_version=1,
        payment_id=payment.payment_id,
        customer_id=payment.customer_id,
        outcome="declined" if payment.status == "declined" else "authorized",
        payment_method=payment.payment_method,
        amount_cents=payment.amount_cents,
        currency=payment.currency,
        decline_reason=payment.decline_reason,
        occurred_at=occurred_at,
    )
