"""docs/events.md says of every field of every event which handlers read it: handlers run with events that record it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

from chassis.database import Database
from chassis.service import Service, load
from fanout.repository import services
from schemas import EVENTS, Event, Shortage, StockRejected
from schemas.files import versions_of
from services.orders.models import NewOrder
from tests.integration.conftest import NewDatabase
from tests.support import sample_events
from tests.support.field_uses import recording

PAGE = Path(__file__).parents[2] / "docs/events.md"
Uses = dict[str, dict[str, set[str]]]
"""By event type and field, the services whose handlers read it."""


async def test_the_page_of_events_names_for_each_field_the_handlers_that_read_it(
    new_database: NewDatabase,
) -> None:
    found: Uses = {event_type.NAME: {path: set() for path in paths_of(event_type)} for event_type in EVENTS}
    for name in services():
        service = load(name)
        if not service.handlers:
            continue
        database = await new_database(name)
        for event in await histories(service, database):
            reads: set[str] = set()
            async with database.transaction() as db:
                await service.handlers[type(event)]([recording(event, reads)], db)
            for path in reads:
                found[event.NAME][path].add(name)
    assert documented() == found


async def histories(service: Service, database: Database) -> list[Event]:
    """Returns events of three orders that go through every branch of a handler that this service has."""
    events: list[Event] = []
    for outcome in ("shipped", "declined", "sold out"):
        order_id = await an_order(service, database)
        placed = sample_events.order_placed(order_id)
        paid = sample_events.payment_processed(
            order_id, "declined" if outcome == "declined" else "authorized"
        )
        stock: Event = sample_events.stock_reserved(order_id)
        if outcome == "sold out":
            shortage = Shortage(product_id="mug", requested=2, available=1)
            stock = StockRejected(
                order_id=order_id, reservation_version=1, shortages=(shortage,), occurred_at=1
            )
        end: list[Event] = [sample_events.order_cancelled(order_id)]
        if outcome == "shipped":
            end = [sample_events.order_confirmed(order_id), sample_events.order_shipped(order_id)]
        events += [placed, sample_events.fraud_assessed(order_id), paid, stock, *end]
    return [event for event in events if type(event) in service.handlers]


async def an_order(service: Service, database: Database) -> str:
    """Returns the id of an order, which only the service of orders has in its database."""
    if service.name != "orders":
        return str(uuid4())
    line: Any = {"product_id": "mug", "quantity": 1}
    body = {"currency": "EUR", "payment_method": "card", "card_token": "tok_visa"}
    return await sample_events.place_order(database, NewOrder.model_validate(body | {"lines": [line]}))


def paths_of(event_type: type[Event]) -> Iterator[str]:
    _, newest = versions_of(event_type)[-1]
    for field in json.loads(newest)["fields"]:
        yield field["name"]
        match field["type"]:
            case {"items": {"fields": list(inner)}}:
                yield from (f"{field['name']}[].{each['name']}" for each in inner)


def documented() -> Uses:
    """Reads the tables `| field | read by |` of the page, each under the heading of its event."""
    found: Uses = {}
    for section in re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)[1:]:
        rows = re.findall(r"^\| `([\w\[\].]+)` \| ([^|]*) \|", section, re.MULTILINE)
        if rows:
            names = section.split("\n", 1)[0].strip()
            found[names] = {path: set(re.findall(r"\w+", who)) - {"nobody"} for path, who in rows}
    return found
