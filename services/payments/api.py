"""Invoices are paid here, and payments can be looked at."""

from datetime import datetime
from uuid import UUID

from fastapi import Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.http.app import Db, Problem, create_api
from chassis.http.idempotency import Idempotent
from chassis.timestamps import now
from services.payments.domain import Method, NotPayable, Status, pay
from services.payments.service import lock, payment_rows, payments, save

app = create_api(payments)


class NewPayment(BaseModel):
    model_config = ConfigDict(extra="forbid")
    order_id: UUID
    amount_cents: int = Field(gt=0, strict=True)
    currency: str = Field(pattern=r"^[A-Z]{3}$")


class PaymentShown(BaseModel):
    payment_id: str
    order_id: str
    status: Status
    payment_method: Method | None
    amount_cents: int | None
    currency: str | None
    decline_reason: str | None
    changed_at: datetime


@app.post("/payments", status_code=201, response_model=PaymentShown)
async def pay_invoice(new: NewPayment, once: Idempotent) -> Response:
    return await once(new, lambda db: settle_invoice(new, db))


@app.get("/payments/{payment_or_order_id}")
async def show_payment(payment_or_order_id: UUID, db: Db) -> PaymentShown:
    """By its own id or by its order's: there is one payment per order."""
    asked, row = str(payment_or_order_id), payment_rows.c
    found = await db.execute(select(payment_rows).where(or_(row.payment_id == asked, row.order_id == asked)))
    if payment := found.mappings().first():
        return PaymentShown.model_validate(payment)
    raise Problem(404, "unknown payment", f"There is no payment {asked}, and none of an order {asked}.")


async def settle_invoice(new: NewPayment, db: AsyncConnection) -> PaymentShown:
    order_id = str(new.order_id)
    known = await lock(db, [order_id])
    if not known:
        raise Problem(
            404, "unknown order", f"Payments has not heard of an order {order_id}.", order_id=order_id
        )
    try:
        paid = pay(known[0], now())
    except NotPayable as refusal:
        raise Problem(409, "nothing to pay", str(refusal), order_id=order_id) from refusal
    if new.amount_cents != paid.amount_cents:
        raise Problem.of_field("amount_cents", f"the invoice is over {paid.amount_cents}")
    if new.currency != paid.currency:
        raise Problem.of_field("currency", f"the invoice is in {paid.currency}")
    await save(db, [paid])
    return PaymentShown.model_validate(paid, from_attributes=True)
