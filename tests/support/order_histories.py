"""Histories of one order: its events and HTTP requests in the order in which they happen."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.outbox.publish import publish
from chassis.service import Service
from schemas import (
    Event,
    FraudAssessed,
    OrderCancelled,
    OrderConfirmed,
    OrderPlaced,
    OrderShipped,
    PaymentProcessed,
    PaymentRefunded,
    StockRejected,
    StockReleased,
    StockReserved,
)
from schemas.event import EPOCH
from services.fulfillment.domain import label
from services.orders.domain import Order, cancel
from services.orders.service import lock as lock_orders
from services.orders.service import save as save_orders
from services.orders.tables import order_lines, orders
from services.payments.domain import pay, payment_id
from services.payments.service import lock as lock_payments
from services.payments.service import save as save_payments
from tests.support.handling import NOON_MS, example


@dataclass(frozen=True)
class Request:
    """An HTTP request to a service."""

    name: str
    service: str
    answer: Callable[[str, datetime, AsyncConnection], Awaitable[None]]
    occurred_at: int = 0

    @property
    def time(self) -> datetime:
        return EPOCH + timedelta(milliseconds=self.occurred_at)


Step = Event | Request
S = TypeVar("S", bound=Event | Request)


@dataclass(frozen=True)
class OrderSteps:
    """The steps of one order that concern one service, and by step those that always arrive before it."""

    order_id: str
    steps: Sequence[Step]
    prerequisites: Mapping[str, set[str]]


@dataclass(frozen=True)
class History:
    """Steps a second apart. Topics reach a service in any order, except for the pairs of steps in `causal`.

    `causal` holds, by service, pairs of which the second step can only follow an action of the service on the first.
    """

    steps: Sequence[Step]
    causal: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    open: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """By service, the fields that depend on which step arrives first."""

    @property
    def placed(self) -> OrderPlaced:
        assert isinstance(self.steps[0], OrderPlaced)
        return self.steps[0]

    def steps_of(self, service: Service, order_id: str) -> OrderSteps:
        steps = [about(order_id, step) for step in self.steps if _concerns(service, step)]
        pairs, names = self.causal.get(service.name, ()), set(map(name_of, steps))
        prerequisites = {
            name: {earlier for earlier, later in pairs if later == name} & names for name in names
        }
        return OrderSteps(order_id, steps, prerequisites)


def name_of(step: Step) -> str:
    return step.name if isinstance(step, Request) else step.NAME


def about(order_id: str, step: S) -> S:
    ids: dict[str, Any] = {"order_id": order_id, "customer_id": f"customer of {order_id}"}
    return replace(step, **{f.name: ids[f.name] for f in fields(step) if f.name in ids})


def _concerns(service: Service, step: Step) -> bool:
    return step.service == service.name if isinstance(step, Request) else type(step) in service.handlers


def aliases(order_id: str) -> dict[str, str]:
    """Returns names for the ids that are derived from the order id, so that two orders can be compared."""
    parcel = label(order_id)
    names = {payment_id(order_id): "payment", parcel.shipment_id: "shipment", parcel.tracking_code: "code"}
    return names | {order_id: "order"}


async def place(placed: OrderPlaced, db: AsyncConnection) -> None:
    """Places an order as `POST /orders` does, at a given time."""
    names = ("order_id", "customer_id", "currency", "total_cents")
    order = Order(**{name: getattr(placed, name) for name in names})
    row = asdict(order) | {"payment_method": placed.payment_method, "placed_at": placed.time}
    lines = [{"order_id": placed.order_id, **asdict(line)} for line in placed.lines]
    await db.execute(insert(orders), [row])
    await db.execute(insert(order_lines), lines)
    await publish(db, [placed])


async def _cancel(order_id: str, at: datetime, db: AsyncConnection) -> None:
    before = await lock_orders(db, [order_id])
    await save_orders(db, before, {order_id: cancel(before[order_id], "customer_request", at)})


async def _pay(order_id: str, at: datetime, db: AsyncConnection) -> None:
    await save_payments(db, [pay(invoice, at) for invoice in await lock_payments(db, [order_id])])


def _placed(product: str = "mug", card: str | None = "tok_visa") -> OrderPlaced:
    line = {"product_id": product, "quantity": 2, "unit_price_cents": 500}
    method = "card" if card else "invoice"
    return example(OrderPlaced, payment_method=method, card_token=card, total_cents=1000, lines=[line])


def _cancelled(reason: str) -> OrderCancelled:
    return example(OrderCancelled, order_version=2, reason=reason)


def _history(*steps: Step, open: Any = None, **causal: Sequence[tuple[str, str]]) -> History:
    timed = [replace(step, occurred_at=NOON_MS + second * 1000) for second, step in enumerate(steps)]
    return History(timed, causal, open or {})


SOLD_OUT = "sold-out-poster"
CANCEL, PAY = Request("cancel", "orders", _cancel), Request("pay", "payments", _pay)
PAID, DECLINED = (example(PaymentProcessed, outcome=outcome) for outcome in ("authorized", "declined"))
PAID_INVOICE = replace(PAID, payment_method="invoice")
RESERVED, REJECTED, ASSESSED = example(StockReserved), example(StockRejected), example(FraudAssessed)
RELEASED, REFUNDED = (
    example(StockReleased, reservation_version=2),
    example(PaymentRefunded, payment_version=2),
)
CONFIRMED, SHIPPED = example(OrderConfirmed, order_version=2), example(OrderShipped)

UNPAYABLE, UNAVAILABLE, CANCELLED = map(_cancelled, ("payment_declined", "out_of_stock", "customer_request"))
# An order is shipped only after `orders` confirmed it, which needs payment and stock.
SHIPS_WHAT_IS_CONFIRMED = [("PaymentProcessed", "OrderShipped"), ("StockReserved", "OrderShipped")]
# A cancellation after both is refused, so here it arrives before one of them.
CANCELLED_UNPAID, CANCELLED_UNRESERVED = [("cancel", "PaymentProcessed")], [("cancel", "StockReserved")]
FIRST_REFUSAL = {"orders": frozenset({"cancel_reason", "decided_at", "reason", "occurred_at"})}

HISTORIES = {
    "shipped": _history(
        *(_placed(), RESERVED, PAID, ASSESSED, CONFIRMED, SHIPPED), orders=SHIPS_WHAT_IS_CONFIRMED
    ),
    "invoice, shipped": _history(
        *(_placed(card=None), RESERVED, ASSESSED, PAY, PAID_INVOICE, CONFIRMED, SHIPPED),
        orders=SHIPS_WHAT_IS_CONFIRMED,
        payments=[("OrderPlaced", "pay")],
    ),
    "declined": _history(_placed(card="tok_declined"), RESERVED, DECLINED, ASSESSED, UNPAYABLE, RELEASED),
    "out of stock": _history(_placed(SOLD_OUT), PAID, REJECTED, UNAVAILABLE, REFUNDED, ASSESSED),
    "declined and out of stock": _history(
        *(_placed(SOLD_OUT, "tok_declined"), DECLINED, REJECTED, ASSESSED, UNPAYABLE), open=FIRST_REFUSAL
    ),
    "cancelled before payment": _history(
        *(_placed(), CANCEL, CANCELLED, ASSESSED, RESERVED, PAID, RELEASED, REFUNDED),
        orders=CANCELLED_UNPAID,
    ),
    "cancelled after payment": _history(
        *(_placed(), ASSESSED, PAID, CANCEL, CANCELLED, RESERVED, REFUNDED, RELEASED),
        orders=CANCELLED_UNRESERVED,
    ),
    "invoice, cancelled": _history(_placed(card=None), RESERVED, ASSESSED, CANCEL, CANCELLED, RELEASED),
    "invoice, paid and cancelled": _history(
        *(_placed(card=None), ASSESSED, PAY, PAID_INVOICE, CANCEL, CANCELLED, RESERVED, REFUNDED, RELEASED),
        orders=CANCELLED_UNRESERVED,
        payments=[("OrderPlaced", "pay"), ("pay", "OrderCancelled")],
    ),
}
