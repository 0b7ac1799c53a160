"""Makes an example value of an Avro schema: plausible, and the same in every run."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from schemas import Event
from schemas.files import versions_of

ORDER_ID = "01990d2f-5c00-7a10-8e4b-3f6f0c9d2a51"
EVENT_ID = "01990d2f-5c7d-7c3e-9a52-6b1d4f0e8c27"
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
NOON_MS = 1_772_366_400_000
PUBLISHED_AT = "2026-03-01T12:00:00.125000+00:00"

VALUES: Mapping[str, Any] = MappingProxyType(
    {
        "order_id": ORDER_ID,
        "customer_id": "c-1",
        "product_id": "mug",
        "payment_id": "a536f819-dc56-5c6c-84e7-060bb2be4ff0",
        "shipment_id": "07b5c8ef-e0dc-5b58-9ba8-ac1d1d55eaeb",
        "tracking_code": "FAN-07B5C8EFE0DC",
        "card_token": "tok_visa",
        "currency": "EUR",
        "quantity": 2,
        "requested": 2,
        "available": 0,
        "unit_price_cents": 1000,
        "total_cents": 2000,
        "amount_cents": 2000,
        "score": 80,
        "rules": ["large_amount"],
        "occurred_at": NOON_MS,
        # The later facts of an aggregate.
        "OrderConfirmed.order_version": 2,
        "OrderCancelled.order_version": 2,
        "PaymentRefunded.payment_version": 2,
        "StockReleased.reservation_version": 2,
    }
)
"""Values by field, or by record and field; all others depend on their type. A nullable field is null by its type."""

PRIMITIVES: Mapping[str, Any] = MappingProxyType(
    {
        "null": None,
        "boolean": True,
        "int": 1,
        "long": 1,
        "float": 1.5,
        "double": 1.5,
        "bytes": b"\x01",
        "string": "text",
    }
)


class NoExample(ValueError):
    """There is no example for a type of a contract; the message names the type."""


def newest_schema(event_type: type[Event]) -> dict[str, Any]:
    """Returns the newest version of the schema as it is registered."""
    _, text = versions_of(event_type)[-1]
    schema: dict[str, Any] = json.loads(text)
    return schema


def example_of(event_type: type[Event], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an example of the event in this version of its schema. Raises NoExample."""
    value = example(schema, event_type.NAME, {})
    assert isinstance(value, dict)
    return value


def example(schema: Any, where: str, named: dict[str, Any]) -> Any:
    """Returns an example of a schema. `named` has the types defined so far. Raises NoExample."""
    match schema:
        case {"type": "record", "name": name, "fields": fields}:
            named[name] = schema
            return {field["name"]: _field(field, name, named) for field in fields}
        case {"type": "enum", "name": name, "symbols": [first, *_]}:
            named[name] = schema
            return first
        case {"type": "array", "items": items}:
            return [example(items, where, named)]
        case {"type": "map", "values": values}:
            return {"key": example(values, where, named)}
        case {"type": "fixed", "name": name, "size": int(size)}:
            named[name] = schema
            return bytes(size)
        case [first, *_]:
            return example(first, where, named)
        case {"type": inner}:
            return example(inner, where, named)
        case str() if schema in PRIMITIVES:
            return PRIMITIVES[schema]
        case str() if schema.rpartition(".")[2] in named:
            return example(named[schema.rpartition(".")[2]], where, named)
    raise NoExample(f"{where}: no example for the type {schema!r}: add it to docs/contracts/examples.py")


def _field(field: Mapping[str, Any], record: str, named: dict[str, Any]) -> Any:
    where, name = f"{record}.{field['name']}", field["name"]
    by_type = example(field["type"], where, named)  # also where it is not used: it collects the named types
    if where in VALUES or name in VALUES:
        return VALUES.get(where, VALUES.get(name))
    return by_type
