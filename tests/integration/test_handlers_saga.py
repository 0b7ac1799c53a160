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
from tests.support.principals import SOME_OPERATOR

SERVICES = ("orders", "payments", "inventory", "fraud", "fulfillment", "notifications")

PURCHASES: dict[str, dict[str, Any]] = {
    "card": {"card_token": "tok_visa"},
    "declined card": {"card_token": "tok_declined"},
    "card, sold out": {"card_token": "tok_visa", "product_id": "sold-out-poster"},
    "card, cancelled": {"card_token": "tok_visa"},
    "paid invoice": {},
    "unpaid invoice": {},
    "invoice, sold out": {"product_id": "sold-out-poster"},
    "invoice, cancelled": {},
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
    "card, cancelled": (
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
    "invoice, cancelled": ("cancelled", "customer_request", "voided", "released", False, "cancelled placed"),
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
    """All services on real databases; events between them arrive late and interleaved.

    A consumer gets the events of one topic in order, as Kafka guarantees; between topics there is no order.
    """

    def __init__(self, databases: Mapping[str, Database]) -> None:
        self.databases = databases
        self._services = {name: load(name) for name in databases}
        self._collected = dict.fromkeys(databases, 0)
        self._queues: dict[tuple[str, str], list[Event]] = {}

    async def run(self, random: Random, steps: int = 10_000) -> None:
        """Delivers events in random order until none is in flight, or for this number of steps."""
        for name in self.databases:
            await self._collect(name)
        while self._queues and steps:
            consumer, topic = random.choice(sorted(self._queues))
            queue = self._queues.pop((consumer, topic))
            taken = random.randint(1, len(queue))
            if queue[taken:]:
                self._queues[consumer, topic] = queue[taken:]
            await sample_events.deliver(self.databases[consumer], self._services[consumer], *queue[:taken])
            await self._collect(consumer)
            steps -= 1

    async def _collect(self, service: str) -> None:
        events = await sample_events.published(self.databases[service], self._collected[service])
        self._collected[service] += len(events)
        for event in events:
            for consumer, each in self._services.items():
                if type(event) in each.handlers:
                    self._queues.setdefault((consumer, event.TOPIC), []).append(event)


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
        "currency": "EUR",
        "payment_method": "card" if card_token else "invoice",
        "card_token": card_token,
        "lines": [{"product_id": product_id, "quantity": 2}],
    }
    new = NewOrder.model_validate(order)
    return await sample_events.place_order(system.databases["orders"], new, customer_id)


async def cancel(system: Saga, order_id: str) -> None:
    async with system.databases["orders"].transaction() as db:
        await orders_api.cancel(db, order_id, SOME_OPERATOR)


async def pay_as_soon_as_possible(system: Saga, order_id: str, random: Random) -> None:
    invoice = NewPayment.model_validate({"order_id": order_id, "amount_cents": 2 * 14_90, "currency": "EUR"})
    while True:
        await system.run(random, steps=1)
        try:
            async with system.databases["payments"].transaction() as db:
                await settle_invoice(db, invoice, SOME_OPERATOR)
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
        await cancel(system, ids["card, cancelled"])
        await cancel(system, ids["invoice, cancelled"])
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
    assert ends == {ENDS["card"], ENDS["card, cancelled"]}
