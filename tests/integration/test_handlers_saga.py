"""The saga without Kafka: in whatever order events arrive, every order ends the same and all checks hold."""

from collections.abc import AsyncIterator, Mapping
from random import Random
from typing import Any

import pytest
from sqlalchemy import text

from chassis.database import Database
from chassis.http.app import Problem
from chassis.service import load
from schemas import Event
from services.orders import api as orders_api
from services.orders.models import NewOrder
from services.payments.api import settle_invoice
from services.payments.models import NewPayment
from tests.integration.conftest import NewDatabase
from tests.support import sample_events

SERVICES = ("orders", "payments", "inventory", "fraud", "fulfillment", "notifications")

PURCHASES: dict[str, dict[str, Any]] = {
    "card": {"card_token": "tok_visa"},
    "declined card": {"card_token": "tok_declined"},
    "card, sold out": {"card_token": "tok_visa", "product_id": "sold-out-poster"},
    "card, called off": {"card_token": "tok_visa"},
    "paid invoice": {},
    "unpaid invoice": {},
    "invoice, sold out": {"product_id": "sold-out-poster"},
    "invoice, called off": {},
}

# order and why, as orders sees it · payment, reservation and shipment, as their services do · messages
ENDS = {
    "card": ("shipped", None, "authorized", "reserved", True, "authorized placed shipped"),
    "declined card": (
        "cancelled",
        "payment_declined",
        "declined",
        "released",
        False,
        "cancelled declined placed",
    ),
    "card, sold out": (
        "cancelled",
        "out_of_stock",
        "refunded",
        "rejected",
        False,
        "authorized cancelled placed",
    ),
    "card, called off": (
        "cancelled",
        "customer_request",
        "refunded",
        "released",
        False,
        "authorized cancelled placed",
    ),
    "paid invoice": ("shipped", None, "authorized", "reserved", True, "authorized placed shipped"),
    "unpaid invoice": ("placed", None, "pending", "reserved", False, "placed"),
    "invoice, sold out": ("cancelled", "out_of_stock", "voided", "rejected", False, "cancelled placed"),
    "invoice, called off": ("cancelled", "customer_request", "voided", "released", False, "cancelled placed"),
}

END = {
    "orders": "SELECT status, cancel_reason FROM orders WHERE order_id = :id",
    "payments": "SELECT status FROM payments WHERE order_id = :id",
    "inventory": "SELECT status FROM reservations WHERE order_id = :id",
    "fulfillment": "SELECT shipped_at IS NOT NULL FROM shipments WHERE order_id = :id",
    "notifications": "SELECT string_agg(split_part(kind, '_', 2), ' ' ORDER BY split_part(kind, '_', 2))"
    " FROM messages WHERE order_id = :id",
}


class Saga:
    """All services on real databases; what they say to each other arrives late and mixed up.

    A consumer gets the events of one topic in order. That is all Kafka promises, so it is all that is kept.
    """

    def __init__(self, databases: Mapping[str, Database]) -> None:
        self.databases = databases
        self._services = {name: load(name) for name in databases}
        self._heard_from = dict.fromkeys(databases, 0)
        self._lanes: dict[tuple[str, str], list[Event]] = {}

    async def run(self, random: Random, steps: int = 10_000) -> None:
        """Until nothing is on its way any more, or for so many steps."""
        for name in self.databases:
            await self._collect(name)
        while self._lanes and steps:
            consumer, topic = random.choice(sorted(self._lanes))
            lane = self._lanes.pop((consumer, topic))
            taken = random.randint(1, len(lane))
            if lane[taken:]:
                self._lanes[consumer, topic] = lane[taken:]
            await sample_events.deliver(self.databases[consumer], self._services[consumer], *lane[:taken])
            await self._collect(consumer)
            steps -= 1

    async def _collect(self, speaker: str) -> None:
        news = await sample_events.published(self.databases[speaker], self._heard_from[speaker])
        self._heard_from[speaker] += len(news)
        for event in news:
            for listener, service in self._services.items():
                if type(event) in service.handlers:
                    self._lanes.setdefault((listener, event.TOPIC), []).append(event)


@pytest.fixture
async def system(new_database: NewDatabase) -> AsyncIterator[Saga]:
    system = Saga({service: await new_database(service) for service in SERVICES})
    yield system
    for service, database in system.databases.items():
        assert not await sample_events.broken_checks(service, database)


async def place(
    system: Saga, customer_id: str, product_id: str = "mug", card_token: str | None = None
) -> str:
    order = {
        "customer_id": customer_id,
        "currency": "EUR",
        "payment_method": "card" if card_token else "invoice",
        "card_token": card_token,
        "lines": [{"product_id": product_id, "quantity": 2}],
    }
    return await sample_events.place_order(system.databases["orders"], NewOrder.model_validate(order))


async def cancel(system: Saga, order_id: str) -> None:
    async with system.databases["orders"].transaction() as db:
        await orders_api.cancel(db, order_id)


async def pay_as_soon_as_possible(system: Saga, order_id: str, random: Random) -> None:
    invoice = NewPayment.model_validate({"order_id": order_id, "amount_cents": 2 * 14_90, "currency": "EUR"})
    while True:
        await system.run(random, steps=1)
        try:
            async with system.databases["payments"].transaction() as db:
                await settle_invoice(db, invoice)
            return
        except Problem as not_yet:
            assert not_yet.status == 404


async def end_of(system: Saga, order_id: str) -> tuple[Any, ...]:
    end: list[Any] = []
    for service, question in END.items():
        async with system.databases[service].transaction() as db:
            end += (await db.execute(text(question), {"id": order_id})).one()
    return tuple(end)


async def test_every_order_ends_the_same_in_whatever_order_its_events_arrive(system: Saga) -> None:
    for seed in range(6):
        random = Random(seed)
        ids = {
            kind: await place(system, f"customer-{seed}-{number}", **purchase)
            for number, (kind, purchase) in enumerate(PURCHASES.items())
        }
        await cancel(system, ids["card, called off"])
        await cancel(system, ids["invoice, called off"])
        await pay_as_soon_as_possible(system, ids["paid invoice"], random)
        await system.run(random)
        assert {kind: await end_of(system, order_id) for kind, order_id in ids.items()} == ENDS


async def test_an_order_cancelled_at_any_time_is_either_shipped_or_reversed(system: Saga) -> None:
    ends = set()
    for seed in range(20):
        random = Random(seed)
        order_id = await place(system, f"customer-{seed}", card_token="tok_visa")
        await system.run(random, steps=seed // 2)
        try:
            await cancel(system, order_id)
        except Problem as too_late:
            assert too_late.status == 409
        await system.run(random)
        ends.add(await end_of(system, order_id))
    assert ends == {ENDS["card"], ENDS["card, called off"]}
