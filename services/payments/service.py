"""Payments holds one payment per order: a card is authorized at once, an invoice waits until somebody pays it."""

from collections.abc import Iterable, Sequence
from dataclasses import fields

from sqlalchemy import Column, Identity, Index, Table, any_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import BigInteger, DateTime, Text

from chassis.outbox.publish import publish
from chassis.service import Service
from chassis.statements import Statement, arrays, ids, insert_rows
from chassis.timestamps import milliseconds
from schemas import OrderCancelled, OrderPlaced, PaymentProcessed, PaymentRefunded
from services.payments.domain import Payment, open_payment, payment_id, undo

payments = Service("payments", topic="payments")

payment_rows = Table(
    "payments",
    payments.metadata,
    Column("order_id", Text, primary_key=True),
    Column("payment_id", Text, nullable=False, index=True),
    Column("customer_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False),
    Column(
        "payment_method", Text
    ),  # unknown, like the amount, while only the order's cancellation has been heard
    Column("amount_cents", BigInteger),
    Column("currency", Text),
    Column("decline_reason", Text),
)

movements = Table(
    "movements",
    payments.metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("order_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("amount_cents", BigInteger, nullable=False),
    Column("moved_at", DateTime(timezone=True), nullable=False),
    Index("movements_order_id", "order_id"),
)

COLUMNS = [field.name for field in fields(Payment)]
TERMS = ("payment_method", "amount_cents", "currency")

_asked = arrays(payment_rows, *COLUMNS)
_open = upsert(payment_rows).from_select(COLUMNS, select(_asked))
OPEN_ONCE = Statement(
    _open.on_conflict_do_update(
        index_elements=["order_id"],
        set_={name: _open.excluded[name] for name in TERMS},
        where=payment_rows.c.payment_method.is_(None),
    ).returning(payment_rows.c.order_id, payment_rows.c.status)
)
_void = arrays(payment_rows, "order_id", "payment_id", "customer_id", "status", "changed_at")
VOID_UNHEARD = Statement(
    upsert(payment_rows).from_select(_void.c.keys(), select(_void)).on_conflict_do_nothing()
)
LOCK = Statement(
    select(*(payment_rows.c[name] for name in COLUMNS))
    .where(payment_rows.c.order_id == any_(ids()), payment_rows.c.payment_method.is_not(None))
    .order_by(payment_rows.c.order_id)
    .with_for_update()
)
_changed = arrays(payment_rows, "order_id", "status", "changed_at")
SAVE = Statement(
    update(payment_rows)
    .where(payment_rows.c.order_id == _changed.c.order_id)
    .values(status=_changed.c.status, changed_at=_changed.c.changed_at)
)
MOVE = insert_rows(movements, "order_id", "kind", "amount_cents", "moved_at")


@payments.on(OrderPlaced)
async def authorize(orders: Sequence[OrderPlaced], db: AsyncConnection) -> None:
    """Opens a payment per order and asks the issuer about cards; an order cancelled already is not charged."""
    asked = {order.order_id: request(order) for order in orders}
    rows = await OPEN_ONCE.of_rows(db, [vars(asked[order_id]) for order_id in sorted(asked)])
    await settle(db, [asked[row.order_id] for row in rows if row.status in ("authorized", "declined")])


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


@payments.on(OrderCancelled)
async def refund(cancelled: Sequence[OrderCancelled], db: AsyncConnection) -> None:
    """Gives back what was authorized; an order not heard of yet is marked, so that it will never be charged."""
    times = {order.order_id: order.time for order in cancelled}
    unheard = [void(order) for order in sorted(cancelled, key=lambda order: order.order_id)]
    await VOID_UNHEARD.of_rows(db, unheard)
    before = [payment for payment in await lock(db, times) if payment.status in ("pending", "authorized")]
    await save(db, [undo(payment, times[payment.order_id]) for payment in before])


def void(order: OrderCancelled) -> dict[str, object]:
    return {
        "order_id": order.order_id,
        "payment_id": payment_id(order.order_id),
        "customer_id": order.customer_id,
        "status": "voided",
        "changed_at": order.time,
    }


async def lock(db: AsyncConnection, order_ids: Iterable[str]) -> list[Payment]:
    """The payments whose terms are known, their rows locked, in the order of their ids so that nobody deadlocks."""
    rows = await LOCK(db, ids=sorted(order_ids))
    return [Payment(**row) for row in rows]


async def save(db: AsyncConnection, changed: Sequence[Payment]) -> None:
    """Writes the new status of each payment and settles it."""
    if changed:
        rows = [{"order_id": p.order_id, "status": p.status, "changed_at": p.changed_at} for p in changed]
        await SAVE.of_rows(db, rows)
        await settle(db, changed)


async def settle(db: AsyncConnection, changed: Sequence[Payment]) -> None:
    """Moves the money of each payment and says what became of it; what waits or is voided moves and says nothing."""
    moving = [payment for payment in changed if payment.status in ("authorized", "refunded")]
    if moving:
        await MOVE.of_rows(db, [movement(payment) for payment in moving])
    await publish(db, [fact(payment) for payment in changed if payment.status not in ("pending", "voided")])


def movement(payment: Payment) -> dict[str, object]:
    return {
        "order_id": payment.order_id,
        "kind": "refund" if payment.status == "refunded" else "authorization",
        "amount_cents": payment.amount_cents,
        "moved_at": payment.changed_at,
    }


def fact(payment: Payment) -> PaymentProcessed | PaymentRefunded:
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
