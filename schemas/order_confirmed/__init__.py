"""The contract of OrderConfirmed, generated from v1.avsc by `make schemas`. Do not edit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from schemas.event import Event
from schemas.numbers import Int32, Int64, int32, int64


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderConfirmed(Event):
    """Payment and stock have both said yes: the order will be shipped. Final, never revised."""

    NAME = "OrderConfirmed"
    TOPIC = "orders"
    KEY = "order_id"
    VERSION_FIELD = "order_version"
    SCHEMA_VERSION = 1

    order_id: str
    """The order this fact is about; the message key."""
    order_version: Int32
    """The order's version: 2, after it was placed."""
    customer_id: str
    """The customer who placed the order."""
    total_cents: Int64
    """What the customer owes, in minor units of the currency."""
    currency: str
    """ISO 4217 code of every amount in this event."""
    occurred_at: Int64
    """Milliseconds since 1970 UTC, event time: that of the later of payment and reservation."""

    def to_record(self) -> dict[str, Any]:
        return {
            "order_id": self.order_id,
            "order_version": int32(self.order_version),
            "customer_id": self.customer_id,
            "total_cents": int64(self.total_cents),
            "currency": self.currency,
            "occurred_at": int64(self.occurred_at),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        return cls(
            order_id=record["order_id"],
            order_version=int32(record["order_version"]),
            customer_id=record["customer_id"],
            total_cents=int64(record["total_cents"]),
            currency=record["currency"],
            occurred_at=int64(record["occurred_at"]),
        )
