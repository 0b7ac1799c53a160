"""Texts of the messages to customers, and the e-mails made of them. They name ids and amounts, never a person."""

from dataclasses import dataclass
from datetime import datetime
from email.base64mime import body_encode
from email.header import Header
from email.headerregistry import Address
from email.utils import format_datetime
from uuid import NAMESPACE_OID, uuid5

SENDER = Address("Fanout", "orders", "fanout.example")
CUSTOMERS = "customers.example"
MESSAGE_IDS = "notifications.fanout.example"
LONGEST_LINE = 900
"""Characters; RFC 5322, 2.1.1 allows 998 including the header's name."""

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
_NONE = ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV")
DECIMALS = {
    **dict.fromkeys((*_NONE, "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}
"""The currencies whose smallest unit is not a hundredth (ISO 4217)."""


@dataclass(frozen=True, slots=True)
class Message:
    """A row to send; `message_id` stays the same however often it is sent."""

    id: int
    message_id: str
    order_id: str
    customer_id: str
    kind: str
    body: str


@dataclass(frozen=True, slots=True)
class Email:
    """`content` is ASCII; its lines end in \\n."""

    recipient: str
    content: str


def message_id(kind: str, order_id: str) -> str:
    """Returns the same id for the same message, also when it is written again after the database was restored."""
    return str(uuid5(NAMESPACE_OID, f"{kind} of {order_id}"))


def email(message: Message, at: datetime) -> Email:
    """Returns the e-mail of a message. Raises ValueError if a header is impossible, such as one with a line break.

    The lines are joined here because `email.message.EmailMessage` takes 0.5 ms for a mail.
    """
    recipient = Address(username=message.customer_id, domain=CUSTOMERS).addr_spec
    if not recipient.isascii():
        raise ValueError(f"the address must be ASCII: {recipient}")
    encoding, body = _encoded(message.body)
    headers = {
        "From": str(SENDER),
        "To": recipient,
        "Subject": SUBJECTS.get(message.kind, "About your order"),
        "Date": format_datetime(at),
        "Message-ID": f"<{message.message_id}@{MESSAGE_IDS}>",
        "X-Order-ID": message.order_id,
        "MIME-Version": "1.0",
        "Content-Type": 'text/plain; charset="utf-8"',
        "Content-Transfer-Encoding": encoding,
    }
    lines = [f"{name}: {_header(name, value)}" for name, value in headers.items()]
    return Email(recipient, "\n".join([*lines, "", body]))


def _header(name: str, value: str) -> str:
    """Returns the value as it is, or folded into encoded words (RFC 2047) if it is long or not ASCII."""
    if not value.isprintable():
        raise ValueError(f"{name} contains a control character: {value!r}")
    if value.isascii() and len(value) <= LONGEST_LINE:
        return value
    return Header(value, "utf-8", header_name=name).encode()


def _encoded(body: str) -> tuple[str, str]:
    """Returns the name of the transfer encoding and the encoded body."""
    if body.isascii() and all(len(line) <= LONGEST_LINE for line in body.splitlines()):
        return "7bit", body
    return "base64", body_encode(body.encode())


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


def money(minor_units: int, currency: str) -> str:
    """Returns an amount with as many decimals as ISO 4217 gives the currency; one that it does not list has two."""
    decimals = DECIMALS.get(currency, 2)
    whole, part = divmod(abs(minor_units), 10**decimals)
    amount = f"{whole}.{part:0{decimals}}" if decimals else str(whole)
    return f"{'-' if minor_units < 0 else ''}{amount} {currency}"
