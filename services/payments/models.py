"""Requests and responses of the payments API."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.payments.domain import Method, Status


class NewPayment(BaseModel):
    model_config = ConfigDict(extra="forbid")
    order_id: UUID
    amount_cents: int = Field(gt=0, strict=True)
    currency: str = Field(pattern=r"^[A-Z]{3}$")


class PaymentResponse(BaseModel):
    payment_id: str
    order_id: str
    status: Status
    payment_method: Method | None
    amount_cents: int | None
    currency: str | None
    decline_reason: str | None
    changed_at: datetime
