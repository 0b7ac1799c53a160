"""Producers and consumers may be deployed in either order."""

import json
from io import BytesIO
from typing import Any

import pytest
from fastavro import schemaless_writer

from chassis.events.avro import Undecodable, decode, encode, frame
from chassis.events.projection import Unresolvable
from schemas import OrderLine, OrderPlaced
from schemas.files import versions_of
from tests.support.known_schemas import Known

PLACED = OrderPlaced(
    order_id="o-1",
    order_version=1,
    customer_id="c-1",
    currency="EUR",
    total_cents=300,
    payment_method="card",
    card_token="tok_visa",
    lines=(OrderLine(product_id="p-1", quantity=3, unit_price_cents=100),),
    occurred_at=5,
)


def with_field(text: str, **field: Any) -> str:
    schema = json.loads(text)
    schema["fields"].insert(1, field)
    return json.dumps(schema)


def without_field(text: str, name: str) -> str:
    schema = json.loads(text)
    schema["fields"] = [field for field in schema["fields"] if field["name"] != name]
    return json.dumps(schema)


async def test_a_reader_ignores_the_field_that_a_newer_writer_added() -> None:
    newer = with_field(versions_of(OrderPlaced)[-1][1], name="coupon", type=["null", "string"], default=None)
    registry = Known(id_9=newer)
    payload = written({**PLACED.to_record(), "coupon": "SPRING"}, registry.schemas[9])
    assert await decode(frame(9, payload), OrderPlaced, registry) == PLACED


async def test_a_reader_fills_in_the_field_that_an_older_writer_did_not_have() -> None:
    registry = Known(id_9=without_field(versions_of(OrderPlaced)[-1][1], "card_token"))
    payload = written(PLACED.to_record(), registry.schemas[9])
    expected = OrderPlaced.from_record(PLACED.to_record() | {"card_token": None})
    assert await decode(frame(9, payload), OrderPlaced, registry) == expected


async def test_a_value_with_an_incompatible_schema_is_undecodable() -> None:
    registry = Known(id_9=without_field(versions_of(OrderPlaced)[-1][1], "customer_id"))
    payload = written(PLACED.to_record(), registry.schemas[9])
    with pytest.raises(Unresolvable, match=r"OrderPlaced\.customer_id has no default"):
        await decode(frame(9, payload), OrderPlaced, registry)


async def test_a_writers_logical_types_do_not_change_our_types() -> None:
    text = versions_of(OrderPlaced)[-1][1]
    stamped = text.replace('"type": "long"', '"type": {"type": "long", "logicalType": "timestamp-millis"}')
    assert stamped != text
    assert await decode(frame(9, encode(PLACED)), OrderPlaced, Known(id_9=stamped)) == PLACED


def written(record: dict[str, Any], schema: dict[str, Any]) -> bytes:
    buffer = BytesIO()
    schemaless_writer(buffer, schema, record)
    return buffer.getvalue()


@pytest.mark.parametrize("quantity", [2**31, -(2**31) - 1])
async def test_a_number_that_does_not_fit_its_avro_type_is_not_read(quantity: int) -> None:
    """Such bytes are no Avro, but fastavro reads them; a consumer could neither store nor show the event."""
    record = PLACED.to_record()
    record["lines"][0]["quantity"] = quantity
    text = versions_of(OrderPlaced)[-1][1]
    with pytest.raises(Undecodable, match=f"OverflowError: {quantity} does not fit"):
        await decode(frame(9, written(record, json.loads(text))), OrderPlaced, Known(id_9=text))
