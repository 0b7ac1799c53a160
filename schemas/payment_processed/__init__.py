"""The contract of PaymentProcessed, generated from v1.avsc by `make schemas`. Do not edit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from schemas.event import Event
from schemas.numbers import Int32, Int64, int32, int64
from schemas.order_placed import PaymentMethod

PaymentOutcome = Literal["authorized", "declined"]
"""What became of a payment."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PaymentProcessed(Event):
    """The payment of an order was authorized or declined."""

    NAME = "PaymentProcessed"
    TOPIC = "payments"
    KEY = "order_id"
    VERSION_FIELD = "payment_version"
    SCHEMA_VERSION = 1

    order_id: str
    """The order this fact is about; the message key."""
    payment_version: Int32
    """The payment's version: 1, the first fact of every payment."""
    payment_id: str
    """The payment; there is one per order."""
    customer_id: str
    """The customer who placed the order."""
    outcome: PaymentOutcome
    """Whether the money is promised or refused."""
    payment_method: PaymentMethod
    """How the order was paid."""
    amount_cents: Int64
    """The amount asked for, in minor units of the currency."""
    currency: str
    """ISO 4217 code of every amount in this event."""
    decline_reason: str | None = None
    """Why the payment was declined, as the card issuer put it; null when authorized."""
    occurred_at: Int64
    """Milliseconds since 1970 UTC, event time: when the order was placed, or the invoice paid."""

    def to_record(self) -> dict[str, Any]:
        return {
            "order_id": self.order_id,
            "payment_version": int32(self.payment_version),
            "payment_id": self.payment_id,
            "customer_id": self.customer_id,
            "outcome": self.outcome,
            "payment_method": self.payment_method,
            "amount_cents": int64(self.amount_cents),
            "currency": self.currency,
            "decline_reason": self.decline_reason,
            "occurred_at": int64(self.occurred_at),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        return cls(
            order_id=record["order_id"],
            payment_version=int32(record["payment_version"]),
            payment_id=record["payment_id"],
            customer_id=record["customer_id"],
            outcome=record["outcome"],
            payment_method=record["payment_method"],
            amount_cents=int64(record["amount_cents"]),
            currency=record["currency"],
            decline_reason=record["decline_reason"],
            occurred_at=int64(record["occurred_at"]),
        )
