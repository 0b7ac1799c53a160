"""A JSON document is an event exactly if it fits the contract."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import schemas
from chassis.events.avro import encode
from schemas import OrderPlaced
from schemas.validation import ValidationError, validate
from tests.support import sample_events
from tests.support.random_events import any_event

PLACED = sample_events.order_placed("o-1").to_record()
LINE = PLACED["lines"][0]


@given(st.sampled_from(schemas.EVENTS).flatmap(any_event))
def test_every_event_is_valid_as_json(event: schemas.Event) -> None:
    document = json.loads(json.dumps(event.to_record()))
    assert validate(type(event), document) == event


@given(st.sampled_from(schemas.EVENTS), st.data())
def test_every_valid_document_can_be_encoded(event_type: type[schemas.Event], data: st.DataObject) -> None:
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
        event = validate(event_type, record | {name: data.draw(values)})
    except ValidationError as invalid:
        assert all(field.startswith(name) for field, _ in invalid.errors)
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
        ({"card_token": 7}, "card_token"),
        ({"order_version": 1.0}, "order_version"),
        ({"order_version": "1"}, "order_version"),
        ({"order_version": True}, "order_version"),
        ({"total_cents": 2**63}, "total_cents"),
        ({"total_cents": -(2**63) - 1}, "total_cents"),
        ({"lines": [LINE | {"quantity": -(2**31) - 1}]}, "lines[0].quantity"),
    ],
)
def test_an_error_names_its_field(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError) as refused:
        validate(OrderPlaced, PLACED | wrong)
    assert refused.value.errors[0][0] == named


def test_only_a_field_that_may_be_null_may_be_left_out() -> None:
    without = {name: value for name, value in PLACED.items() if name not in ("card_token", "currency")}
    assert validate(OrderPlaced, without | {"currency": "EUR"}) == validate(
        OrderPlaced, PLACED | {"card_token": None}
    )
    with pytest.raises(ValidationError, match="currency: Field required"):
        validate(OrderPlaced, without)


@pytest.mark.parametrize("document", [[], None, "text", 7])
def test_a_document_that_is_no_object_is_no_event(document: Any) -> None:
    with pytest.raises(ValidationError, match="object"):
        validate(OrderPlaced, document)


def test_a_text_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(ValidationError, match="Invalid JSON"):
        validate(OrderPlaced, PLACED | {"customer_id": "\ud800"})


def test_all_errors_of_a_document_are_named() -> None:
    with pytest.raises(ValidationError) as refused:
        validate(OrderPlaced, PLACED | {"currency": 7, "payment_method": "cash"})
    assert [field for field, _ in refused.value.errors] == ["currency", "payment_method"]
