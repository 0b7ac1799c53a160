"""What the messages say, and the e-mails made of them."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from services.notifications.domain import (
    SUBJECTS,
    Message,
    authorized,
    cancelled,
    declined,
    email,
    money,
    placed,
    shipped,
)

MESSAGE = Message(
    id=1, message_id="m-1", order_id="o-1", customer_id="c-1", kind="order_shipped", body="On its way."
)
EXTRA_HEADER = "x\r\nBcc: everybody@customers.example"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (placed("o-1", 14_90, "EUR"), "order o-1 over 14.90 EUR"),
        (authorized("o-1", 5, "EUR"), "0.05 EUR for order o-1 went through"),
        (declined("o-1", "insufficient_funds"), "order o-1 was declined: insufficient funds"),
        (declined("o-1", None), "declined: no reason given"),
        (cancelled("o-1", "payment_declined"), "cancelled because your payment was declined"),
        (cancelled("o-1", "out_of_stock"), "cancelled because we have run out"),
        (cancelled("o-1", "customer_request"), "cancelled because you asked"),
        (shipped("o-1", "FAN-1"), "order o-1 is on its way. Track it with FAN-1"),
    ],
)
def test_a_message_says_what_happened_to_which_order(message: str, says: str) -> None:
    assert says in message


@pytest.mark.parametrize(
    ("cents", "text"), [(0, "0.00 EUR"), (9, "0.09 EUR"), (100, "1.00 EUR"), (123_456_789, "1234567.89 EUR")]
)
def test_money_is_never_rounded(cents: int, text: str) -> None:
    assert money(cents, "EUR") == text


def test_an_email_is_plain_text_with_the_ids_of_its_message() -> None:
    assert email(MESSAGE, NOON).as_string().splitlines() == [
        "From: Fanout <orders@fanout.example>",
        "To: c-1@customers.example",
        "Subject: Your order is on its way",
        "Date: Sun, 01 Mar 2026 12:00:00 +0000",
        "Message-ID: <m-1@notifications.fanout.example>",
        "X-Order-ID: o-1",
        'Content-Type: text/plain; charset="utf-8"',
        "Content-Transfer-Encoding: 7bit",
        "MIME-Version: 1.0",
        "",
        "On its way.",
    ]


def test_every_kind_has_a_subject_of_its_own_and_an_unknown_one_has_some() -> None:
    assert len(set(SUBJECTS.values())) == len(SUBJECTS)
    assert email(replace(MESSAGE, kind="unheard_of"), NOON)["Subject"] == "About your order"


@pytest.mark.parametrize(
    "message",
    [
        replace(MESSAGE, customer_id=EXTRA_HEADER),
        replace(MESSAGE, order_id=EXTRA_HEADER),
        replace(MESSAGE, message_id=EXTRA_HEADER),
    ],
)
def test_no_id_can_add_a_header(message: Message) -> None:
    with pytest.raises(ValueError):
        email(message, NOON)


@pytest.mark.parametrize("customer", ["a, b", "a@b", "<a>", 'a"b'])
def test_an_odd_customer_id_is_still_one_address(customer: str) -> None:
    (address,) = email(replace(MESSAGE, customer_id=customer), NOON)["To"].addresses
    assert (address.username, address.domain) == (customer, "customers.example")
