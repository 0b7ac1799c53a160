"""An event that does not have the types of its contract is never encoded, whatever fastavro would make of it."""

from dataclasses import replace
from typing import Any

import pytest

from chassis.errors import FailureClass, classify
from chassis.events.avro import MAX_BYTES, encode
from chassis.events.validation import InvalidEvent
from schemas import EVENTS, Event, FraudAssessed, OrderLine, OrderPlaced
from tests.support.handling import example

PLACED, ASSESSED = example(OrderPlaced), example(FraudAssessed)
LINE = PLACED.lines[0]
LONE_SURROGATE = "\ud800"


def lines(**changes: Any) -> tuple[OrderLine, ...]:
    return LINE, replace(LINE, **changes)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (replace(PLACED, order_version=2**31), "2147483648 does not fit into 32 bits"),
        (replace(PLACED, order_version=-(2**31) - 1), "does not fit into 32 bits"),
        (replace(PLACED, total_cents=2**63), "does not fit into 64 bits"),
        (replace(PLACED, order_version=1.0), r"OrderPlaced\.order_version: a value of type float is not int"),  # type: ignore[arg-type]
        (replace(PLACED, order_version=True), "order_version: a value of type bool is not int"),
        (replace(PLACED, total_cents="3"), "total_cents: a value of type str is not long"),  # type: ignore[arg-type]
        (replace(PLACED, total_cents=None), "total_cents: a value of type NoneType is not long"),  # type: ignore[arg-type]
        (replace(PLACED, payment_method="cash"), "payment_method: 'cash' is not one of card, invoice"),  # type: ignore[arg-type]
        (replace(PLACED, payment_method=None), "payment_method: None is not one of card, invoice"),  # type: ignore[arg-type]
        (replace(PLACED, payment_method=0), "payment_method: 0 is not one of card, invoice"),  # type: ignore[arg-type]
        (replace(PLACED, customer_id=None), "customer_id: a value of type NoneType is not string"),  # type: ignore[arg-type]
        (replace(PLACED, customer_id=b"c"), "customer_id: a value of type bytes is not string"),  # type: ignore[arg-type]
        (replace(PLACED, customer_id=7), "customer_id: a value of type int is not string"),  # type: ignore[arg-type]
        (replace(PLACED, customer_id=LONE_SURROGATE), "surrogates not allowed"),
        (replace(PLACED, card_token=b"t"), "card_token: a value of type bytes is not string"),  # type: ignore[arg-type]
        (replace(PLACED, card_token=LONE_SURROGATE), "surrogates not allowed"),
        (replace(PLACED, lines=None), "lines: a value of type NoneType is not array"),  # type: ignore[arg-type]
        (replace(PLACED, lines="abc"), "lines: a value of type str is not array"),  # type: ignore[arg-type]
        (replace(PLACED, lines={}), "lines: a value of type dict is not array"),  # type: ignore[arg-type]
        (replace(PLACED, lines=("x",)), "lines: a value of type str is not record"),  # type: ignore[arg-type]
        (replace(PLACED, lines=lines(quantity=1.5)), r"OrderPlaced\.lines\.quantity: a value of type float"),
        (replace(PLACED, lines=lines(quantity=2**31)), "does not fit into 32 bits"),
        (replace(PLACED, lines=lines(product_id=None)), r"lines\.product_id: a value of type NoneType"),
        (replace(PLACED, lines=lines(product_id=b"p")), r"lines\.product_id: a value of type bytes"),
        (replace(PLACED, lines=lines(product_id=LONE_SURROGATE)), "surrogates not allowed"),
        (replace(PLACED, occurred_at=-1), "occurred_at: -1 is not a time"),
        (replace(PLACED, occurred_at=253_402_300_800_000), "occurred_at: 253402300800000 is not a time"),
        (replace(PLACED, customer_id="c" * MAX_BYTES), "bytes are over the limit"),
        (replace(ASSESSED, suspicious=None), "suspicious: a value of type NoneType is not boolean"),  # type: ignore[arg-type]
        (replace(ASSESSED, suspicious="no"), "suspicious: a value of type str is not boolean"),  # type: ignore[arg-type]
        (replace(ASSESSED, suspicious=1), "suspicious: a value of type int is not boolean"),  # type: ignore[arg-type]
        (replace(ASSESSED, rules="abc"), "rules: a value of type str is not array"),  # type: ignore[arg-type]
        (replace(ASSESSED, rules=("a", None)), "rules: a value of type NoneType is not string"),  # type: ignore[arg-type]
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_fit_the_contract_is_refused_with_the_field(event: Event, reason: str) -> None:
    with pytest.raises(InvalidEvent, match=reason) as refusal:
        encode(event)
    assert classify(refusal.value) is FailureClass.PERMANENT


@pytest.mark.parametrize("event_type", EVENTS)
def test_an_event_that_fits_is_encoded(event_type: type[Event]) -> None:
    assert encode(example(event_type))


def test_a_refused_value_is_not_shown_because_it_may_be_a_secret() -> None:
    with pytest.raises(InvalidEvent) as refusal:
        encode(replace(PLACED, card_token=b"tok_secret"))  # type: ignore[arg-type]
    assert "tok_secret" not in str(refusal.value)
