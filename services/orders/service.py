"""Orders owns an order's life and decides it once payment and stock have both spoken, in whatever order they do."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import TypeVar

from sqlalchemy import Column, ForeignKey, Index, Table, any_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import BigInteger, Boolean, DateTime, Integer, Text

from chassis.errors import PermanentFailure
from chassis.outbox.publish import publish
from chassis.service import Service
from chassis.statements import Statement, arrays, ids
from chassis.timestamps import milliseconds
from schemas import (
    FraudAssessed,
    OrderCancelled,
    OrderConfirmed,
    OrderShipped,
    PaymentProcessed,
    StockRejected,
    StockReserved,
)
from schemas.event import Event
from services.orders.domain import Order, hear_payment, hear_stock, ship

orders = Service("orders", topic="orders")

products = Table(
    "products",
    orders.metadata,
    Column("product_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("price_cents", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
)

order_rows = Table(
    "orders",
    orders.metadata,
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
    Index("orders_flagged", "order_id", postgresql_where=text("flagged")),
)

order_lines = Table(
    "order_lines",
    orders.metadata,
    Column("order_id", Text, ForeignKey("orders.order_id"), primary_key=True),
    Column("product_id", Text, primary_key=True),
    Column("quantity", Integer, nullable=False),
    Column("unit_price_cents", BigInteger, nullable=False),
)

E = TypeVar("E", bound=Event)
STATE = [field.name for field in fields(Order)]

LOCK = Statement(
    select(*(order_rows.c[name] for name in STATE))
    .where(order_rows.c.order_id == any_(ids()))
    .order_by(order_rows.c.order_id)
    .with_for_update()
)
_changed = arrays(order_rows, *STATE)
SAVE = Statement(
    update(order_rows)
    .where(order_rows.c.order_id == _changed.c.order_id)
    .values({name: _changed.c[name] for name in STATE if name != "order_id"})
)
_noted = arrays(order_rows, "order_id", "assessment_version", "fraud_score", "flagged")
NOTE_VERDICTS = Statement(
    update(order_rows)
    .where(order_rows.c.order_id == _noted.c.order_id)
    .where(order_rows.c.assessment_version < _noted.c.assessment_version)
    .values({name: _noted.c[name] for name in ("assessment_version", "fraud_score", "flagged")})
)


class UnknownOrder(PermanentFailure):
    """A fact about an order that was never placed here."""


@orders.on(PaymentProcessed)
async def hear_payments(payments: Sequence[PaymentProcessed], db: AsyncConnection) -> None:
    await revise(db, payments, lambda o, p: hear_payment(o, p.outcome, p.payment_version, p.time))


@orders.on(StockReserved)
async def hear_reservations(reserved: Sequence[StockReserved], db: AsyncConnection) -> None:
    await revise(db, reserved, lambda o, r: hear_stock(o, "reserved", r.reservation_version, r.time))


@orders.on(StockRejected)
async def hear_rejections(rejected: Sequence[StockRejected], db: AsyncConnection) -> None:
    await revise(db, rejected, lambda o, r: hear_stock(o, "rejected", r.reservation_version, r.time))


@orders.on(OrderShipped)
async def hear_shipments(shipped: Sequence[OrderShipped], db: AsyncConnection) -> None:
    await revise(db, shipped, lambda o, s: ship(o, s.time))


@orders.on(FraudAssessed)
async def note_verdicts(verdicts: Sequence[FraudAssessed], db: AsyncConnection) -> None:
    """Records the latest version of each assessment, whenever it comes; it decides nothing."""
    await lock(db, [verdict.order_id for verdict in verdicts])
    latest = {each.order_id: each for each in sorted(verdicts, key=lambda each: each.assessment_version)}
    await NOTE_VERDICTS.of_rows(db, [verdict_row(verdict) for verdict in latest.values()])


def verdict_row(verdict: FraudAssessed) -> dict[str, object]:
    return {
        "order_id": verdict.order_id,
        "assessment_version": verdict.assessment_version,
        "fraud_score": verdict.score,
        "flagged": verdict.suspicious,
    }


async def revise(db: AsyncConnection, facts: Sequence[E], hear: Callable[[Order, E], Order]) -> None:
    before = await lock(db, [fact.key for fact in facts])
    after = dict(before)
    for fact in facts:
        after[fact.key] = hear(after[fact.key], fact)
    await save(db, before, after)


async def lock(db: AsyncConnection, order_ids: Iterable[str]) -> dict[str, Order]:
    """The orders, their rows locked until the transaction ends; in the order of their ids, so nobody deadlocks."""
    wanted = sorted(set(order_ids))
    rows = await LOCK(db, ids=wanted)
    found = {row.order_id: Order(**row) for row in rows}
    if missing := [order_id for order_id in wanted if order_id not in found]:
        raise UnknownOrder(f"no such order: {', '.join(missing)}")
    return found


async def save(db: AsyncConnection, before: Mapping[str, Order], after: Mapping[str, Order]) -> None:
    """Writes what changed and publishes what was decided."""
    changed = [order for order_id, order in after.items() if order != before[order_id]]
    if changed:
        await SAVE.of_rows(db, [vars(order) for order in changed])
    decided = [order for order in changed if before[order.order_id].status == "placed" != order.status]
    await publish(db, [decision(order) for order in decided])


def decision(order: Order) -> OrderConfirmed | OrderCancelled:
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
