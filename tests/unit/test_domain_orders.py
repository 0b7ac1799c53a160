"""States of an order, for every sequence of payment and stock."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from services.orders.domain import (
    AlreadyDecided,
    Contradiction,
    Order,
    Reason,
    Status,
    apply_payment,
    apply_stock,
    cancel,
    ship,
)

Step = Callable[[Order], Order]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(seconds=5)
PLACED = Order(order_id="o-1", customer_id="c-1", currency="EUR", total_cents=1490)


def authorized(order: Order) -> Order:
    return apply_payment(order, "authorized", 1, LATER)


def declined(order: Order) -> Order:
    return apply_payment(order, "declined", 1, LATER)


def reserved(order: Order) -> Order:
    return apply_stock(order, "reserved", 1, NOON)


def rejected(order: Order) -> Order:
    return apply_stock(order, "rejected", 1, NOON)


def called_off(order: Order) -> Order:
    return cancel(order, "customer_request", NOON)


@pytest.mark.parametrize(
    ("steps", "status", "reason"),
    [
        ([], "placed", None),
        ([authorized], "placed", None),
        ([reserved], "placed", None),
        ([authorized, reserved], "confirmed", None),
        ([reserved, authorized], "confirmed", None),
        ([declined], "cancelled", "payment_declined"),
        ([reserved, declined], "cancelled", "payment_declined"),
        ([declined, reserved], "cancelled", "payment_declined"),
        ([rejected], "cancelled", "out_of_stock"),
        ([authorized, rejected], "cancelled", "out_of_stock"),
        ([rejected, authorized], "cancelled", "out_of_stock"),
        ([declined, rejected], "cancelled", "payment_declined"),
        ([rejected, declined], "cancelled", "out_of_stock"),
        ([called_off], "cancelled", "customer_request"),
        ([called_off, authorized, reserved], "cancelled", "customer_request"),
        ([authorized, called_off, reserved], "cancelled", "customer_request"),
        ([called_off, declined], "cancelled", "customer_request"),
    ],
)
def test_the_first_refusal_cancels_and_two_acceptances_confirm(
    steps: list[Step], status: Status, reason: Reason | None
) -> None:
    order = PLACED
    for step in steps:
        order = step(order)
    assert (order.status, order.cancel_reason) == (status, reason)
    assert order.version == (1 if status == "placed" else 2)


@pytest.mark.parametrize("payment", [authorized, declined])
@pytest.mark.parametrize("stock", [reserved, rejected])
def test_payment_and_stock_lead_to_the_same_order_in_either_sequence(payment: Step, stock: Step) -> None:
    one, other = (second(first(PLACED)) for first, second in permutations([payment, stock]))
    assert (one.status, one.version, one.payment, one.payment_at, one.stock, one.stock_at) == (
        (other.status, other.version, other.payment, other.payment_at, other.stock, other.stock_at)
    )


def test_a_confirmation_has_the_event_time_of_its_later_cause() -> None:
    assert {authorized(reserved(PLACED)).decided_at, reserved(authorized(PLACED)).decided_at} == {LATER}


def test_an_older_version_of_payment_or_stock_changes_nothing() -> None:
    once = apply_stock(PLACED, "reserved", 2, NOON)
    paid = apply_payment(PLACED, "authorized", 2, NOON)
    for version in (1, 2):
        assert apply_stock(once, "rejected", version, LATER) is once
        assert apply_payment(paid, "declined", version, LATER) is paid


@pytest.mark.parametrize("steps", [[authorized, reserved], [declined], [called_off]])
def test_a_decided_order_cannot_be_cancelled(steps: list[Step]) -> None:
    order = PLACED
    for step in steps:
        order = step(order)
    with pytest.raises(AlreadyDecided, match=order.status):
        called_off(order)


def test_a_confirmed_order_ships_once() -> None:
    shipped = ship(authorized(reserved(PLACED)), LATER)
    assert (shipped.status, shipped.version, shipped.shipped_at) == ("shipped", 3, LATER)
    assert ship(shipped, NOON) is shipped


@pytest.mark.parametrize("order", [PLACED, declined(PLACED)])
def test_a_shipment_of_an_order_that_was_not_confirmed_is_a_contradiction(order: Order) -> None:
    with pytest.raises(Contradiction, match=order.status):
        ship(order, LATER)
