"""States of an order: placed, then confirmed or cancelled exactly once, in whatever order payment and stock arrive."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

Status = Literal["placed", "confirmed", "cancelled", "shipped"]
Payment = Literal["pending", "authorized", "declined"]
Stock = Literal["pending", "reserved", "rejected"]
Reason = Literal["payment_declined", "out_of_stock", "customer_request"]


class AlreadyDecided(Exception):
    """The order is confirmed, shipped or cancelled already, and a decision is never revised."""


class Contradiction(Exception):
    """An event contradicts the order's state: it was shipped without being confirmed."""


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
    """Cancels at the first refusal, confirms once both are positive; `decided_at` is the later of the event times."""
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
