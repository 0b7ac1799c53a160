"""A JSON document becomes an event exactly if it fits the contract."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import schemas
from chassis.events.avro import encode
from schemas import OrderPlaced
from schemas.fitting import Misfit, fit
from tests.support import sample_events
from tests.support.random_events import any_event

PLACED = sample_events.order_placed("o-1").to_record()
LINE = PLACED["lines"][0]


@given(st.sampled_from(schemas.EVENTS).flatmap(any_event))
def test_every_event_comes_back_from_its_json(event: schemas.Event) -> None:
    document = json.loads(json.dumps(event.to_record()))
    assert fit(type(event), document) == event


@given(st.sampled_from(schemas.EVENTS), st.data())
def test_whatever_fits_can_be_encoded(event_type: type[schemas.Event], data: st.DataObject) -> None:
    values = (
        st.none()
        | st.booleans()
        | st.integers()
        | st.text()
        | st.lists(st.none() | st.integers(), max_size=2)
    )
    record = data.draw(any_event(event_type)).to_record()
    name = data.draw(st.sampled_from(sorted(record)))
    try:
        event = fit(event_type, record | {name: data.draw(values)})
    except Misfit as misfit:
        assert all(field.startswith(name) for field, _ in misfit.faults)
    else:
        encode(event)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"lines": {}}, "lines"),
        ({"lines": [LINE, 7]}, "lines[1]"),
        ({"lines": [LINE | {"quantity": 2**31}]}, "lines[0].quantity"),
        ({"lines": [LINE | {"colour": 1}]}, "lines[0].colour"),
        ({"lines": [{}, LINE]}, "lines[0].product_id"),
        ({"payment_method": "cash"}, "payment_method"),
        ({"payment_method": ["card"]}, "payment_method"),
        ({"customer_id": "\ud800"}, "customer_id"),
        ({"card_token": 7}, "card_token"),
        ({"order_version": 1.0}, "order_version"),
    ],
)
def test_a_fault_is_named_by_its_field(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(Misfit) as refused:
        fit(OrderPlaced, PLACED | wrong)
    assert refused.value.faults[0][0] == named


def test_what_may_be_null_may_be_left_out_and_nothing_else() -> None:
    without = {name: value for name, value in PLACED.items() if name not in ("card_token", "currency")}
    assert fit(OrderPlaced, without | {"currency": "EUR"}) == fit(OrderPlaced, PLACED | {"card_token": None})
    with pytest.raises(Misfit, match="currency: is missing"):
        fit(OrderPlaced, without)


@pytest.mark.parametrize("document", [[], None, "text", 7])
def test_what_is_no_object_is_no_event(document: Any) -> None:
    with pytest.raises(Misfit, match="object"):
        fit(OrderPlaced, document)
