"""States of a payment: opened with its order, paid if it is an invoice, reversed if the order is cancelled."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal
from uuid import NAMESPACE_OID, uuid5

Method = Literal["card", "invoice"]
Status = Literal["pending", "authorized", "declined", "voided", "refunded"]

ACCEPTED = {"tok_visa", "tok_mastercard"}
DECLINED = {"tok_declined": "card_declined", "tok_insufficient_funds": "insufficient_funds"}
CLOSED = {
    "authorized": "paid already",
    "refunded": "refunded",
    "voided": "void, since the order was cancelled",
}


class NotPayable(Exception):
    """The payment is not an open invoice."""


@dataclass(frozen=True, kw_only=True)
class Payment:
    order_id: str
    payment_id: str
    customer_id: str
    payment_method: Method
    amount_cents: int
    currency: str
    changed_at: datetime
    status: Status = "pending"
    decline_reason: str | None = None


def payment_id(order_id: str) -> str:
    """Returns the id of an order's payment, always the same for the same order."""
    return str(uuid5(NAMESPACE_OID, f"payment of {order_id}"))


def open_payment(invoice: Payment, card_token: str | None) -> Payment:
    """Returns an invoice unchanged, a card payment authorized or declined; the simulated issuer decides by token."""
    if invoice.payment_method == "invoice":
        return invoice
    if card_token in ACCEPTED:
        return replace(invoice, status="authorized")
    return replace(invoice, status="declined", decline_reason=DECLINED.get(card_token or "", "unknown_card"))


def pay(invoice: Payment, at: datetime) -> Payment:
    if invoice.payment_method != "invoice":
        raise NotPayable(f"order {invoice.order_id} is paid by {invoice.payment_method}")
    if invoice.status != "pending":
        raise NotPayable(f"the invoice of order {invoice.order_id} is {CLOSED[invoice.status]}")
    return replace(invoice, status="authorized", changed_at=at)


def reverse(payment: Payment, at: datetime) -> Payment:
    """Returns the payment of a cancelled order: voided if it was pending, refunded if authorized, else unchanged."""
    if payment.status == "pending":
        return replace(payment, status="voided", changed_at=at)
    if payment.status == "authorized":
        return replace(payment, status="refunded", changed_at=at)
    return payment
