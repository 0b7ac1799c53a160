"""Sample events for handlers, and the events that the handlers publish."""

from io import BytesIO
from itertools import groupby
from typing import Any

from fastavro import schemaless_reader
from sqlalchemy import Executable, select, text

from chassis.database import Database
from chassis.events.record import EVENT_TYPES
from chassis.outbox.table import outbox
from chassis.service import Service
from fanout.verify.contents.event_tables import event_tables
from fanout.verify.invariants import discover
from schemas import (
    CancelReason,
    Event,
    FraudAssessed,
    OrderCancelled,
    OrderConfirmed,
    OrderLine,
    OrderPlaced,
    OrderShipped,
    PaymentMethod,
    PaymentOutcome,
    PaymentProcessed,
    StockRejected,
    StockReserved,
)
from schemas.files import parsed_schema
from services.orders.api import store
from services.orders.models import NewOrder
from services.orders.placing import PriceReader, place

NOON_MS = 1_772_366_400_000


def ms(second: float) -> int:
    """Event time, in seconds since noon."""
    return NOON_MS + round(second * 1000)


def order_placed(
    order_id: str,
    lines: dict[str, int] | None = None,
    second: float = 0,
    card_token: str | None = "tok_visa",
    customer_id: str = "c-1",
    unit_price_cents: int = 1000,
) -> OrderPlaced:
    """By invoice when there is no card."""
    wanted = lines or {"mug": 1}
    method: PaymentMethod = "card" if card_token else "invoice"
    return OrderPlaced(
        order_id=order_id,
        order_version=1,
        customer_id=customer_id,
        currency="EUR",
        total_cents=unit_price_cents * sum(wanted.values()),
        payment_method=method,
        card_token=card_token,
        lines=tuple(
            OrderLine(product_id=p, quantity=q, unit_price_cents=unit_price_cents) for p, q in wanted.items()
        ),
        occurred_at=ms(second),
    )


def order_confirmed(order_id: str, second: float = 2) -> OrderConfirmed:
    return OrderConfirmed(
        order_id=order_id,
        order_version=2,
        customer_id="c-1",
        total_cents=1000,
        currency="EUR",
        occurred_at=ms(second),
    )


def order_cancelled(
    order_id: str, second: float = 3, reason: CancelReason = "customer_request"
) -> OrderCancelled:
    return OrderCancelled(
        order_id=order_id, order_version=2, customer_id="c-1", reason=reason, occurred_at=ms(second)
    )


def payment_processed(
    order_id: str, outcome: PaymentOutcome = "authorized", second: float = 1
) -> PaymentProcessed:
    return PaymentProcessed(
        order_id=order_id,
        payment_version=1,
        payment_id=f"p-{order_id}",
        customer_id="c-1",
        outcome=outcome,
        payment_method="card",
        amount_cents=1000,
        currency="EUR",
        decline_reason="card_declined" if outcome == "declined" else None,
        occurred_at=ms(second),
    )


def stock_reserved(order_id: str, second: float = 0.5) -> StockReserved:
    return StockReserved(order_id=order_id, reservation_version=1, lines=(), occurred_at=ms(second))


def stock_rejected(order_id: str, second: float = 0.5) -> StockRejected:
    return StockRejected(order_id=order_id, reservation_version=1, shortages=(), occurred_at=ms(second))


def fraud_assessed(order_id: str, suspicious: bool = True) -> FraudAssessed:
    return FraudAssessed(
        order_id=order_id,
        assessment_version=1,
        score=80,
        suspicious=suspicious,
        rules=("large_amount",),
        occurred_at=ms(0),
    )


def order_shipped(order_id: str, second: float = 4) -> OrderShipped:
    return OrderShipped(
        order_id=order_id,
        shipment_version=1,
        shipment_id="s-1",
        customer_id="c-1",
        tracking_code="FAN-1",
        occurred_at=ms(second),
    )


async def deliver(database: Database, service: Service, *events: Event) -> None:
    """One transaction; neighbours of one type are one call, as in a batch from Kafka."""
    async with database.transaction() as db:
        for event_type, run in groupby(events, type):
            await service.handlers[event_type](list(run), db)


async def published(database: Database, after: int = 0) -> list[Event]:
    """What a service published, oldest first, but for the first `after` events."""
    rows = await fetch(database, select(outbox.c.type, outbox.c.payload).order_by(outbox.c.id).offset(after))
    return [decoded(row["type"], row["payload"]) for row in rows]


async def fetch(database: Database, statement: Executable) -> list[dict[str, Any]]:
    async with database.transaction() as db:
        return [dict(row) for row in (await db.execute(statement)).mappings()]


async def change(database: Database, statement: str) -> None:
    async with database.transaction() as db:
        await db.execute(text(statement))


async def broken_checks(service: str, database: Database) -> dict[str, list[str]]:
    """The sentences of the service's checks.sql that do not hold, each with the offending ids.

    Checks that compare with published events are left out: what a test hands to a handler is in no outbox.
    """
    checks = [
        query
        for query in discover()
        if (query.service, query.kind) == (service, "check")
        and not event_tables(query.sql)
        and "pg_temp." not in query.sql
    ]
    answers = {check.title: await fetch(database, text(check.sql)) for check in checks}
    return {title: [row["id"] for row in rows] for title, rows in answers.items() if rows}


def decoded(name: str, payload: bytes) -> Event:
    event_type = EVENT_TYPES[name]
    record: Any = schemaless_reader(BytesIO(payload), parsed_schema(event_type), None)
    return event_type.from_record(record)


async def place_order(database: Database, new: NewOrder, customer_id: str = "c-1") -> str:
    """Places an order as the API does, and returns its id."""
    order = place(new, customer_id, await PriceReader(database).read())
    async with database.transaction() as db:
        await store([order], db)
    return order.event.order_id
