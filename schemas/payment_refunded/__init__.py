"""The contract of PaymentRefunded, generated from v1.avsc by `make schemas`. Do not edit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from schemas.event import Event
from schemas.numbers import Int32, Int64, int32, int64


@dataclass(frozen=True, kw_only=True, slots=True)
class PaymentRefunded(Event):
    """An authorized payment was given back because its order was cancelled."""

    NAME = "PaymentRefunded"
    TOPIC = "payments"
    KEY = "order_id"
    VERSION_FIELD = "payment_version"
    SCHEMA_VERSION = 1

    order_id: str
    """The order this fact is about; the message key."""
    payment_version: Int32
    """The payment's version: 2, after it was processed."""
    payment_id: str
    """The payment given back."""
    customer_id: str
    """The customer who placed the order."""
    amount_cents: Int64
    """The amount given back, in minor units of the currency."""
    currency: str
    """ISO 4217 code of every amount in this event."""
    occurred_at: Int64
    """Milliseconds since 1970 UTC, event time: that of the later of payment and cancellation."""

    def to_record(self) -> dict[str, Any]:
        return {
            "order_id": self.order_id,
            "payment_version": int32(self.payment_version),
            "payment_id": self.payment_id,
            "customer_id": self.customer_id,
            "amount_cents": int64(self.amount_cents),
            "currency": self.currency,
            "occurred_at": int64(self.occurred_at),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        return cls(
            order_id=record["order_id"],
            payment_version=int32(record["payment_version"]),
            payment_id=record["payment_id"],
            customer_id=record["customer_id"],
            amount_cents=int64(record["amount_cents"]),
            currency=record["currency"],
            occurred_at=int64(record["occurred_at"]),
        )
