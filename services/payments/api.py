"""HTTP API of payments: pays the invoice of an order, and shows payments."""

from typing import Annotated
from uuid import UUID

from fastapi import Response
from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.http.app import Db, Problem, create_api, refusals, with_examples
from chassis.http.auth import Authenticated, Principal
from chassis.http.idempotency import Idempotent
from chassis.timestamps import now
from services.payments.domain import NotPayable, pay
from services.payments.models import NEW_PAYMENTS, NewPayment, PaymentResponse
from services.payments.service import lock, save, service
from services.payments.tables import payments

app = create_api(
    service,
    "Pays invoices and shows payments. A card is charged without it, when the event of its order arrives.",
    {"payments": "One payment for each order; it exists once payments has received the order's event."},
)

UNKNOWN = {404: ("unknown payment", "There is no payment 0197a3c2-5d1e-7b44-9c1a-2f6e8d0b7a31, …")}
NOT_PAID = {
    404: ("unknown order", "There is no payment for an order 0197a3c2-5d1e-7b44-9c1a-2f6e8d0b7a31."),
    409: ("nothing to pay", "The payment is authorized already."),
}


New = Annotated[NewPayment, with_examples(NEW_PAYMENTS)]


@app.post(
    "/payments",
    status_code=201,
    response_model=PaymentResponse,
    responses=refusals(NOT_PAID),
    tags=["payments"],
    summary="Pay the invoice of an order",
)
async def pay_invoice(principal: Authenticated, new: New, request: Idempotent) -> Response:
    """Pays an order's invoice, for its customer or an operator. Answers 404 until payments has received the order."""
    return await request.run(new, settle_invoice, new, principal)


async def settle_invoice(db: AsyncConnection, new: NewPayment, principal: Principal) -> PaymentResponse:
    order_id = str(new.order_id)
    known = await lock(db, [order_id])
    if not known or not principal.may_act_for(known[0].customer_id):
        raise Problem(
            404, "unknown order", f"There is no payment for an order {order_id}.", order_id=order_id
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
    return PaymentResponse.model_validate(paid, from_attributes=True)


@app.get(
    "/payments/{payment_or_order_id}",
    responses=refusals(UNKNOWN),
    tags=["payments"],
    summary="Show a payment",
)
async def show_payment(principal: Authenticated, payment_or_order_id: UUID, db: Db) -> PaymentResponse:
    """Finds a payment by its own id or by its order's; there is one payment per order."""
    id, row = str(payment_or_order_id), payments.c
    found = await db.execute(select(payments).where(or_(row.payment_id == id, row.order_id == id)))
    payment = found.mappings().first()
    if payment and principal.may_act_for(payment["customer_id"]):
        return PaymentResponse.model_validate(payment)
    raise Problem(404, "unknown payment", f"There is no payment {id}, and none of an order {id}.")
