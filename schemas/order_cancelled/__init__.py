"""The contract of OrderCancelled, generated from v1.avsc by `make schemas`. Do not edit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from schemas.event import Event
from schemas.numbers import Int32, Int64, int32, int64

CancelReason = Literal["payment_declined", "out_of_stock", "customer_request"]
"""Why an order was cancelled."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderCancelled(Event):
    """The order will never be shipped; each service undoes its own part. Final, never revised."""

    NAME = "OrderCancelled"
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
    reason: CancelReason
    """Why the order was cancelled."""
    occurred_at: Int64
    """Milliseconds since 1970 UTC, event time: that of the refusal, or when the customer asked."""

    def to_record(self) -> dict[str, Any]:
        return {
            "order_id": self.order_id,
            "order_version": int32(self.order_version),
            "customer_id": self.customer_id,
            "reason": self.reason,
            "occurred_at": int64(self.occurred_at),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        return cls(
            order_id=record["order_id"],
            order_version=int32(record["order_version"]),
            customer_id=record["customer_id"],
            reason=record["reason"],
            occurred_at=int64(record["occurred_at"]),
        )
