"""One payment per order: what the card issuer says, and what becomes of a payment when its order is cancelled."""

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
    """There is no open invoice."""


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
    """The same for the same order, whenever and however often it is asked."""
    return str(uuid5(NAMESPACE_OID, f"payment of {order_id}"))


def open_payment(invoice: Payment, card_token: str | None) -> Payment:
    """An invoice waits; a card is answered at once. This issuer answers by token, so that each answer can be had."""
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
    """The order was cancelled: what waits is voided, what was authorized is refunded, the rest is over already."""
    if payment.status == "pending":
        return replace(payment, status="voided", changed_at=at)
    if payment.status == "authorized":
        return replace(payment, status="refunded", changed_at=at)
    return payment
