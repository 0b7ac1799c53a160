"""What the customer reads. Messages name ids and amounts, never a person."""

from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage

SENDER = Address("Fanout", "orders", "fanout.example")
CUSTOMERS = "customers.example"
MESSAGE_IDS = "notifications.fanout.example"

SUBJECTS = {
    "order_placed": "We have your order",
    "payment_authorized": "Your payment went through",
    "payment_declined": "Your payment was declined",
    "order_cancelled": "Your order was cancelled",
    "order_shipped": "Your order is on its way",
}
CANCELLATIONS = {
    "payment_declined": "your payment was declined",
    "out_of_stock": "we have run out of something you ordered",
    "customer_request": "you asked us to",
}


@dataclass(frozen=True, slots=True)
class Message:
    """A row to send; `message_id` is the same however often it is sent."""

    id: int
    message_id: str
    order_id: str
    customer_id: str
    kind: str
    body: str


def email(message: Message, at: datetime) -> EmailMessage:
    """Raises ValueError for what cannot be a header, such as a customer id with a line break in it."""
    mail = EmailMessage()
    mail["From"] = SENDER
    mail["To"] = Address(username=message.customer_id, domain=CUSTOMERS)
    mail["Subject"] = SUBJECTS.get(message.kind, "About your order")
    mail["Date"] = at
    mail["Message-ID"] = f"<{message.message_id}@{MESSAGE_IDS}>"
    mail["X-Order-ID"] = message.order_id
    mail.set_content(message.body)
    return mail


def placed(order_id: str, total_cents: int, currency: str) -> str:
    return f"Thank you! We have your order {order_id} over {money(total_cents, currency)}."


def authorized(order_id: str, amount_cents: int, currency: str) -> str:
    return f"Your payment of {money(amount_cents, currency)} for order {order_id} went through."


def declined(order_id: str, reason: str | None) -> str:
    return (
        f"Your payment for order {order_id} was declined: {(reason or 'no reason given').replace('_', ' ')}."
    )


def cancelled(order_id: str, reason: str) -> str:
    return f"Your order {order_id} was cancelled because {CANCELLATIONS[reason]}."


def shipped(order_id: str, tracking_code: str) -> str:
    return f"Your order {order_id} is on its way. Track it with {tracking_code}."


def money(cents: int, currency: str) -> str:
    return f"{cents // 100}.{cents % 100:02} {currency}"
