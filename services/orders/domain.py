"""An order's life: placed, then confirmed or cancelled exactly once, whichever of payment and stock speaks first."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

Status = Literal["placed", "confirmed", "cancelled", "shipped"]
Payment = Literal["pending", "authorized", "declined"]
Stock = Literal["pending", "reserved", "rejected"]
Reason = Literal["payment_declined", "out_of_stock", "customer_request"]


class AlreadyDecided(Exception):
    """A confirmed, shipped or cancelled order stays what it is."""


class Contradiction(Exception):
    """A fact that cannot follow from what this order has been through."""


@dataclass(frozen=True, kw_only=True)
class Order:
    order_id: str
    customer_id: str
    currency: str
    total_cents: int
    status: Status = "placed"
    version: int = 1
    cancel_reason: Reason | None = None
    payment: Payment = "pending"
    payment_version: int = 0
    payment_at: datetime | None = None
    stock: Stock = "pending"
    stock_version: int = 0
    stock_at: datetime | None = None
    decided_at: datetime | None = None
    shipped_at: datetime | None = None


def apply_payment(order: Order, outcome: Payment, version: int, at: datetime) -> Order:
    if version <= order.payment_version:
        return order
    return decide(replace(order, payment=outcome, payment_version=version, payment_at=at), at)


def apply_stock(order: Order, outcome: Stock, version: int, at: datetime) -> Order:
    if version <= order.stock_version:
        return order
    return decide(replace(order, stock=outcome, stock_version=version, stock_at=at), at)


def decide(order: Order, at: datetime) -> Order:
    """The first refusal cancels, both consents confirm; a decision's event time is that of its latest cause."""
    if order.status != "placed":
        return order
    if order.payment == "declined":
        return cancel(order, "payment_declined", at)
    if order.stock == "rejected":
        return cancel(order, "out_of_stock", at)
    if order.payment == "authorized" and order.stock == "reserved":
        latest = max(filter(None, (order.payment_at, order.stock_at, at)))
        return replace(order, status="confirmed", version=order.version + 1, decided_at=latest)
    return order


def cancel(order: Order, reason: Reason, at: datetime) -> Order:
    if order.status != "placed":
        raise AlreadyDecided(f"order {order.order_id} is {order.status}")
    return replace(order, status="cancelled", version=order.version + 1, cancel_reason=reason, decided_at=at)


def ship(order: Order, at: datetime) -> Order:
    if order.status == "shipped":
        return order
    if order.status != "confirmed":
        raise Contradiction(f"order {order.order_id} was shipped although it is {order.status}")
    return replace(order, status="shipped", version=order.version + 1, shipped_at=at)
