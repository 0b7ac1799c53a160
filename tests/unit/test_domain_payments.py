"""States of a payment: what the issuer decides, who can pay, and what a cancellation changes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.payments.domain import NotPayable, Payment, Status, open_payment, pay, payment_id, reverse

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(seconds=5)
CARD = Payment(
    order_id="o-1",
    payment_id=payment_id("o-1"),
    customer_id="c-1",
    payment_method="card",
    amount_cents=1490,
    currency="EUR",
    changed_at=NOON,
)
INVOICE = replace(CARD, payment_method="invoice")


@pytest.mark.parametrize(
    ("token", "status", "reason"),
    [
        ("tok_visa", "authorized", None),
        ("tok_mastercard", "authorized", None),
        ("tok_declined", "declined", "card_declined"),
        ("tok_insufficient_funds", "declined", "insufficient_funds"),
        ("tok_of_nobody", "declined", "unknown_card"),
        (None, "declined", "unknown_card"),
    ],
)
def test_a_card_is_authorized_or_declined_at_once(
    token: str | None, status: Status, reason: str | None
) -> None:
    answered = open_payment(CARD, token)
    assert (answered.status, answered.decline_reason) == (status, reason)


def test_an_invoice_is_pending_until_it_is_paid() -> None:
    waiting = open_payment(INVOICE, None)
    assert waiting.status == "pending"
    assert pay(waiting, LATER) == replace(INVOICE, status="authorized", changed_at=LATER)


@pytest.mark.parametrize(
    ("payment", "why"),
    [
        (CARD, "paid by card"),
        (replace(INVOICE, status="authorized"), "paid already"),
        (replace(INVOICE, status="refunded"), "refunded"),
        (replace(INVOICE, status="voided"), "cancelled"),
    ],
)
def test_only_an_open_invoice_can_be_paid(payment: Payment, why: str) -> None:
    with pytest.raises(NotPayable, match=why):
        pay(payment, LATER)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("pending", "voided"),
        ("authorized", "refunded"),
        ("declined", "declined"),
        ("voided", "voided"),
        ("refunded", "refunded"),
    ],
)
def test_a_cancellation_voids_or_refunds_a_payment(before: Status, after: Status) -> None:
    payment = replace(INVOICE, status=before)
    assert reverse(payment, LATER).status == after
    assert (reverse(payment, LATER) == payment) == (before == after)


def test_an_order_always_has_the_same_payment_id() -> None:
    assert payment_id("o-1") == payment_id("o-1") != payment_id("o-2")
