"""Fills the databases of all services with any number of orders, as if their events had been published and applied.

Each order has six events. Of twenty orders one is declined and one sold out; the others are shipped.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import BytesIO
from json import dumps
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import asyncpg

from chassis.events.avro import encode
from chassis.service import Service, load
from schemas import (
    Event,
    FraudAssessed,
    OrderCancelled,
    OrderConfirmed,
    OrderLine,
    OrderPlaced,
    OrderShipped,
    PaymentProcessed,
    PaymentRefunded,
    ReservedLine,
    Shortage,
    StockRejected,
    StockReleased,
    StockReserved,
)
from services.fulfillment.domain import label
from services.notifications import domain as texts

CUSTOMERS = 50_000
MS_BETWEEN = 300
EVENTS_OF_AN_ORDER = 6
ORDERS_AT_ONCE = 5_000
PARTITIONS = 12
NULL = r"\N"
PRICES = {
    "mug": 14_90,
    "notebook": 9_00,
    "pencil": 1_20,
    "espresso-machine": 649_00,
    "sold-out-poster": 25_00,
}
LINES = (("mug",), ("mug", "pencil"), ("notebook",), ("notebook", "pencil"), ("espresso-machine",))
CONSUMERS = ("orders", "payments", "inventory", "fraud", "fulfillment", "notifications", "analytics")

Rows = dict[tuple[str, str], list[str]]
"""Lines in COPY's text format, by service and table."""


@dataclass
class Filling:
    """What the chunks so far have used up."""

    services: Mapping[str, Service]
    offsets: Counter[tuple[str, int]] = field(default_factory=Counter)
    received: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    sold: Counter[str] = field(default_factory=Counter)


async def fill(
    databases: Mapping[str, asyncpg.Connection], orders: int, note: Callable[[str], None] = print
) -> None:
    """Adds the orders, all younger than a week. The databases are migrated and have no orders yet."""
    filling = Filling({name: load(name) for name in CONSUMERS})
    began = datetime.now(UTC) - timedelta(milliseconds=MS_BETWEEN * orders) - timedelta(hours=1)
    first_ms = int(began.timestamp() * 1000)
    await databases["fraud"].execute(
        "INSERT INTO customers SELECT 'customer-' || n FROM generate_series(0, $1::int - 1) AS n", CUSTOMERS
    )
    for first in range(0, orders, ORDERS_AT_ONCE):
        numbers = range(first, min(first + ORDERS_AT_ONCE, orders))
        rows: Rows = {}
        for number in numbers:
            _add(rows, filling, number, first_ms + MS_BETWEEN * number)
        for (service, table), lines in sorted(rows.items(), key=lambda each: each[0][1].endswith("_lines")):
            data = BytesIO(("\n".join(lines) + "\n").encode())
            await databases[service].copy_to_table(table, source=data, columns=COLUMNS.get(table))
        note(f"{numbers[-1] + 1:,} of {orders:,} orders")
    await _finish(databases, filling)


async def _finish(databases: Mapping[str, asyncpg.Connection], filling: Filling) -> None:
    for product, units in filling.sold.items():
        await databases["inventory"].execute(
            "UPDATE stock SET on_hand = initial - $2 WHERE product_id = $1", product, units
        )
    for (consumer, topic, partition), events in filling.received.items():
        await databases[consumer].execute(
            "INSERT INTO consumer_offsets "
            "(consumer, topic, partition, next_offset, received, applied, parked, duplicates) "
            "VALUES ($1, $2, $3, $4, $5, $5, 0, 0)",
            *(consumer, topic, partition, filling.offsets[topic, partition], events),
        )
    for db in databases.values():
        await db.execute("VACUUM ANALYZE")


def _add(rows: Rows, filling: Filling, number: int, at_ms: int) -> None:
    order_id = _uuid7(at_ms, number)
    outcome = {7: "declined", 13: "sold_out"}.get(number % 20, "shipped")
    events = list(_events(order_id, number, at_ms, outcome))
    for position, event in enumerate(events):
        event_id = _uuid7(at_ms + 1 + position, number)
        _publish(rows, filling, event, event_id)
    _effects(rows, filling, outcome, events)


def _events(order_id: str, number: int, at_ms: int, outcome: str) -> Iterator[Event]:
    customer_id = f"customer-{number % CUSTOMERS}"
    products = ("sold-out-poster",) if outcome == "sold_out" else LINES[number % len(LINES)]
    lines = tuple(OrderLine(product_id=p, quantity=1, unit_price_cents=PRICES[p]) for p in products)
    total = sum(PRICES[product] for product in products)
    declined = outcome == "declined"
    paid: dict[str, Any] = {
        "order_id": order_id,
        "payment_id": str(uuid5(NAMESPACE_OID, f"payment of {order_id}")),
        "customer_id": customer_id,
        "amount_cents": total,
        "currency": "EUR",
        "occurred_at": at_ms,
    }
    yield OrderPlaced(
        order_id=order_id,
        order_version=1,
        customer_id=customer_id,
        currency="EUR",
        total_cents=total,
        payment_method="card",
        card_token="tok_declined" if declined else "tok_visa",
        lines=lines,
        occurred_at=at_ms,
    )
    yield PaymentProcessed(
        **paid,
        payment_version=1,
        outcome="declined" if declined else "authorized",
        payment_method="card",
        decline_reason="card_declined" if declined else None,
    )
    held = tuple(ReservedLine(product_id=product, quantity=1) for product in sorted(products))
    if outcome == "sold_out":
        short = (Shortage(product_id=products[0], requested=1, available=0),)
        yield StockRejected(order_id=order_id, reservation_version=1, shortages=short, occurred_at=at_ms)
    else:
        yield StockReserved(order_id=order_id, reservation_version=1, lines=held, occurred_at=at_ms)
    is_large = total >= 500_00
    yield FraudAssessed(
        order_id=order_id,
        assessment_version=1,
        score=40 * is_large,
        suspicious=False,
        rules=("large_amount",) * is_large,
        occurred_at=at_ms,
    )
    decision: dict[str, Any] = {
        "order_id": order_id,
        "order_version": 2,
        "customer_id": customer_id,
        "occurred_at": at_ms,
    }
    if outcome == "shipped":
        yield OrderConfirmed(**decision, total_cents=total, currency="EUR")
        mark = label(order_id)
        yield OrderShipped(
            order_id=order_id,
            shipment_version=1,
            shipment_id=mark.shipment_id,
            customer_id=customer_id,
            tracking_code=mark.tracking_code,
            occurred_at=at_ms,
        )
        return
    yield OrderCancelled(**decision, reason="payment_declined" if declined else "out_of_stock")
    if declined:
        yield StockReleased(order_id=order_id, reservation_version=2, lines=held, occurred_at=at_ms)
    else:
        yield PaymentRefunded(**paid, payment_version=2)


def _publish(rows: Rows, filling: Filling, event: Event, event_id: str) -> None:
    partition = int(event.key[-4:], 16) % PARTITIONS
    offset = filling.offsets[event.TOPIC, partition]
    filling.offsets[event.TOPIC, partition] += 1
    producer = next(name for name, service in filling.services.items() if service.topic == event.TOPIC)
    headers = {"ce_specversion": "1.0", "ce_id": event_id, "ce_type": event.NAME, "ce_subject": event.key}
    published = [
        event_id,
        event.TOPIC,
        event.NAME,
        event.key,
        event.aggregate_version,
        _bytes(event.key.encode()),
    ]
    sent = [
        _bytes(encode(event)),
        event.SCHEMA_VERSION,
        dumps(list(headers.items())),
        _time(event.occurred_at),
    ]
    _row(rows, producer, "outbox", *published, *sent, partition, offset)
    for name, service in filling.services.items():
        if type(event) in service.handlers:
            _row(rows, name, "inbox", name, event_id, "applied")
            filling.received[name, event.TOPIC, partition] += 1


def _effects(rows: Rows, filling: Filling, outcome: str, events: list[Event]) -> None:
    by_type: dict[str, Any] = {event.NAME: event for event in events}
    placed: OrderPlaced = by_type["OrderPlaced"]
    paid: PaymentProcessed = by_type["PaymentProcessed"]
    assessed: FraudAssessed = by_type["FraudAssessed"]
    cancelled: OrderCancelled | None = by_type.get("OrderCancelled")
    shipped: OrderShipped | None = by_type.get("OrderShipped")
    at, order_id, customer_id = _time(placed.occurred_at), placed.order_id, placed.customer_id
    stock = "rejected" if outcome == "sold_out" else "reserved"
    state = ["shipped", 3, NULL] if shipped else ["cancelled", 2, cancelled.reason if cancelled else ""]
    terms = [order_id, customer_id, "EUR", placed.total_cents, "card"]
    decided = [paid.outcome, 1, at, stock, 1, at, assessed.score, "f", 1, at, at, at if shipped else NULL]
    _row(rows, "orders", "orders", *terms, *state, *decided)
    for line in placed.lines:
        priced = [line.quantity, line.unit_price_cents]
        _row(rows, "orders", "order_lines", order_id, line.product_id, *priced)
        _row(
            rows, "analytics", "order_lines", order_id, line.product_id, line.quantity, priced[0] * priced[1]
        )
        if outcome != "sold_out":
            _row(rows, "inventory", "reservation_lines", order_id, line.product_id, line.quantity)
        filling.sold[line.product_id] += line.quantity * (outcome == "shipped")
    status = "refunded" if outcome == "sold_out" else paid.outcome
    money = [status, at, "card", paid.amount_cents, "EUR", paid.decline_reason or NULL]
    _row(rows, "payments", "payments", order_id, paid.payment_id, customer_id, *money)
    for kind in {"declined": (), "sold_out": ("authorization", "refund")}.get(outcome, ("authorization",)):
        _row(rows, "payments", "movements", order_id, kind, paid.amount_cents, at)
    held = {"declined": "released", "sold_out": "rejected"}.get(outcome, "reserved")
    _row(rows, "inventory", "reservations", order_id, held, at)
    _row(rows, "fraud", "orders_seen", order_id, customer_id, at)
    rules = "{" + ",".join(assessed.rules) + "}"
    _row(rows, "fraud", "assessments", order_id, assessed.score, "f", rules, 1)
    contents = dumps([{"product_id": line.product_id, "quantity": line.quantity} for line in placed.lines])
    times = [at, at if shipped else NULL, at if cancelled else NULL, at if shipped else NULL]
    mark = [shipped.shipment_id, shipped.tracking_code] if shipped else [NULL, NULL]
    _row(rows, "fulfillment", "shipments", order_id, customer_id, contents, *times, *mark)
    for kind, body in _messages(placed, paid, cancelled, shipped):
        _row(rows, "notifications", "messages", order_id, customer_id, kind, body, at, 1, at)
    steps = ["placed", "paid" if paid.outcome == "authorized" else "declined"]
    for step in (*steps, *(("confirmed", "shipped") if shipped else ("cancelled",))):
        _row(rows, "analytics", "steps", order_id, step, at)
    if shipped:
        _row(rows, "analytics", "sales", order_id, at, "EUR", placed.total_cents)


def _messages(
    placed: OrderPlaced,
    paid: PaymentProcessed,
    cancelled: OrderCancelled | None,
    shipped: OrderShipped | None,
) -> Iterable[tuple[str, str]]:
    order_id = placed.order_id
    yield "order_placed", texts.placed(order_id, placed.total_cents, "EUR")
    if paid.outcome == "authorized":
        yield "payment_authorized", texts.authorized(order_id, paid.amount_cents, "EUR")
    else:
        yield "payment_declined", texts.declined(order_id, paid.decline_reason)
    if cancelled:
        yield "order_cancelled", texts.cancelled(order_id, cancelled.reason)
    if shipped:
        yield "order_shipped", texts.shipped(order_id, shipped.tracking_code)


def _row(rows: Rows, service: str, table: str, *values: object) -> None:
    rows.setdefault((service, table), []).append("\t".join(map(str, values)))


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat()


def _bytes(value: bytes) -> str:
    return r"\\x" + value.hex()


def _uuid7(ms: int, number: int) -> str:
    digits = f"{ms:012x}7{number % 4096:03x}8{number:015x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


COLUMNS: Mapping[str, list[str]] = {
    table: columns.split()
    for table, columns in {
        "outbox": "event_id topic type aggregate_id aggregate_version key payload schema_version headers published_at "
        "kafka_partition kafka_offset",
        "inbox": "consumer event_id status",
        "orders": "order_id customer_id currency total_cents payment_method status version cancel_reason payment "
        "payment_version payment_at stock stock_version stock_at fraud_score flagged assessment_version placed_at "
        "decided_at shipped_at",
        "payments": "order_id payment_id customer_id status changed_at payment_method amount_cents currency "
        "decline_reason",
        "movements": "order_id kind amount_cents moved_at",
        "reservations": "order_id status changed_at",
        "reservation_lines": "order_id product_id quantity",
        "orders_seen": "order_id customer_id placed_at",
        "assessments": "order_id score suspicious rules assessment_version",
        "shipments": "order_id customer_id contents placed_at confirmed_at cancelled_at shipped_at shipment_id "
        "tracking_code",
        "messages": "order_id customer_id kind body created_at attempts sent_at",
        "steps": "order_id step at",
        "sales": "order_id at currency revenue_cents",
    }.items()
}
