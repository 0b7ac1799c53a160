"""The contract of OrderPlaced, generated from v1.avsc by `make schemas`. Do not edit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from schemas.event import Event
from schemas.numbers import Int32, Int64, int32, int64

PaymentMethod = Literal["card", "invoice"]
"""How an order is paid: a card at once, an invoice later."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderLine:
    """One product of an order, at the price of the moment it was placed."""

    product_id: str
    """The product ordered."""
    quantity: Int32
    """Units ordered, at least 1."""
    unit_price_cents: Int64
    """Price of one unit, in minor units of the order's currency."""

    def to_record(self) -> dict[str, Any]:
        return {
            "product_id": self.product_id,
            "quantity": int32(self.quantity),
            "unit_price_cents": int64(self.unit_price_cents),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        return cls(
            product_id=record["product_id"],
            quantity=int32(record["quantity"]),
            unit_price_cents=int64(record["unit_price_cents"]),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderPlaced(Event):
    """A customer's order was accepted and priced."""

    NAME = "OrderPlaced"
    TOPIC = "orders"
    KEY = "order_id"
    VERSION_FIELD = "order_version"
    SCHEMA_VERSION = 1

    order_id: str
    """The order this fact is about; the message key."""
    order_version: Int32
    """The order's version: 1, the first fact of every order."""
    customer_id: str
    """The customer who placed the order."""
    currency: str
    """ISO 4217 code of every amount in this event."""
    total_cents: Int64
    """What the customer owes, in minor units of the currency."""
    payment_method: PaymentMethod
    """How the customer chose to pay."""
    card_token: str | None = None
    """Token of the card to authorize; null when the order is paid by invoice."""
    lines: tuple[OrderLine, ...]
    """What was ordered, one line per product."""
    occurred_at: Int64
    """Milliseconds since 1970 UTC, event time: when the order was accepted."""

    def to_record(self) -> dict[str, Any]:
        return {
            "order_id": self.order_id,
            "order_version": int32(self.order_version),
            "customer_id": self.customer_id,
            "currency": self.currency,
            "total_cents": int64(self.total_cents),
            "payment_method": self.payment_method,
            "card_token": self.card_token,
            "lines": [item.to_record() for item in self.lines],
            "occurred_at": int64(self.occurred_at),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        return cls(
            order_id=record["order_id"],
            order_version=int32(record["order_version"]),
            customer_id=record["customer_id"],
            currency=record["currency"],
            total_cents=int64(record["total_cents"]),
            payment_method=record["payment_method"],
            card_token=record["card_token"],
            lines=tuple([OrderLine.from_record(item) for item in record["lines"]]),
            occurred_at=int64(record["occurred_at"]),
        )
