"""Requests and responses of the payments API."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.payments.domain import Method, Status


class NewPayment(BaseModel):
    model_config = ConfigDict(extra="forbid")
    order_id: UUID
    amount_cents: int = Field(gt=0, strict=True)
    currency: str = Field(pattern=r"^[A-Z]{3}$")


NEW_PAYMENTS: dict[str, dict[str, Any]] = {
    "the example order by invoice of POST /orders; put its order_id here": {
        "order_id": "0197a3c2-5d1e-7b44-9c1a-2f6e8d0b7a31",
        "amount_cents": 1490,
        "currency": "EUR",
    },
}
"""The body that pays for an order of the page of orders, once it has that order's id."""


class PaymentResponse(BaseModel):
    payment_id: str
    order_id: str
    status: Status
    payment_method: Method | None
    amount_cents: int | None
    currency: str | None
    decline_reason: str | None
    changed_at: datetime
