"""Texts of the messages, and the e-mails made of them."""

from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_string
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest

from services.notifications.domain import (
    SUBJECTS,
    Message,
    authorized,
    cancelled,
    declined,
    email,
    message_id,
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


@pytest.mark.parametrize(
    ("minor_units", "currency", "text"),
    [
        (1490, "JPY", "1490 JPY"),
        (0, "KRW", "0 KRW"),
        (-7, "JPY", "-7 JPY"),
        (1490, "KWD", "1.490 KWD"),
        (5, "BHD", "0.005 BHD"),
        (12_345, "CLF", "1.2345 CLF"),
        (1490, "USD", "14.90 USD"),
        (-5, "USD", "-0.05 USD"),
        (1490, "XYZ", "14.90 XYZ"),
    ],
)
def test_an_amount_has_the_decimals_of_its_currency(minor_units: int, currency: str, text: str) -> None:
    assert money(minor_units, currency) == text


def test_a_mail_names_an_amount_as_its_currency_writes_it() -> None:
    assert "order o-1 over 1490 JPY." in placed("o-1", 1490, "JPY")
    assert "Your payment of 1.490 KWD for" in authorized("o-1", 1490, "KWD")


def read(message: Message) -> EmailMessage:
    """What the customer's mail reader makes of it."""
    mail = message_from_string(email(message, NOON).content, policy=default)
    assert isinstance(mail, EmailMessage) and not mail.defects
    return mail


def test_an_email_is_plain_text_with_the_ids_of_its_message() -> None:
    assert email(MESSAGE, NOON).recipient == "c-1@customers.example"
    assert email(MESSAGE, NOON).content.splitlines() == [
        "From: Fanout <orders@fanout.example>",
        "To: c-1@customers.example",
        "Subject: Your order is on its way",
        "Date: Sun, 01 Mar 2026 12:00:00 +0000",
        "Message-ID: <m-1@notifications.fanout.example>",
        "X-Order-ID: o-1",
        "MIME-Version: 1.0",
        'Content-Type: text/plain; charset="utf-8"',
        "Content-Transfer-Encoding: 7bit",
        "",
        "On its way.",
    ]


def test_every_kind_has_its_own_subject_and_an_unknown_kind_has_a_default() -> None:
    assert len(set(SUBJECTS.values())) == len(SUBJECTS)
    assert read(replace(MESSAGE, kind="unheard_of"))["Subject"] == "About your order"


@pytest.mark.parametrize("odd", [EXTRA_HEADER, "x\rBcc: y", "x\nBcc: y", "x\n\nbody", "\x00", "x\u2028y"])
@pytest.mark.parametrize("field", ["customer_id", "order_id", "message_id"])
def test_an_id_with_a_line_break_adds_no_header(field: str, odd: str) -> None:
    changed: dict[str, Any] = {field: odd}
    with pytest.raises(ValueError):
        email(replace(MESSAGE, **changed), NOON)


@pytest.mark.parametrize("customer", ["a, b", "a@b", "<a>", 'a"b'])
def test_an_odd_customer_id_is_still_one_address(customer: str) -> None:
    (address,) = read(replace(MESSAGE, customer_id=customer))["To"].addresses
    assert (address.username, address.domain) == (customer, "customers.example")


def test_a_customer_id_outside_ascii_is_refused() -> None:
    with pytest.raises(ValueError, match="ASCII"):
        email(replace(MESSAGE, customer_id="zoë"), NOON)


@pytest.mark.parametrize("order_id", ["bestellung-ä", "o" * 2000, "ä " * 600])
def test_an_order_id_of_any_characters_and_length_becomes_short_ascii_lines(order_id: str) -> None:
    message = replace(MESSAGE, order_id=order_id)
    assert read(message)["X-Order-ID"] == order_id
    assert all(line.isascii() and len(line) <= 998 for line in email(message, NOON).content.split("\n"))


@pytest.mark.parametrize("body", ["Zwölf Äpfel für 3 €.", "x" * 5000, "one\ntwo\n"])
def test_a_body_of_any_characters_and_length_becomes_short_ascii_lines(body: str) -> None:
    message = replace(MESSAGE, body=body)
    assert read(message).get_content().rstrip("\n") == body.rstrip("\n")
    assert all(line.isascii() and len(line) <= 998 for line in email(message, NOON).content.split("\n"))


def test_the_same_message_has_the_same_id_whenever_it_is_written_and_no_other_has_it() -> None:
    same = {message_id("order_shipped", "o-1"), message_id("order_shipped", "o-1")}
    assert (
        len(same) == 1
        and len(same | {message_id("order_placed", "o-1"), message_id("order_shipped", "o-2")}) == 3
    )
