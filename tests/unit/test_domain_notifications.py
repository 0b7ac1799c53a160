"""What the messages say."""

import pytest

from services.notifications.domain import authorized, cancelled, declined, money, placed, shipped


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
