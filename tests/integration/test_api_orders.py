"""Orders are placed, cancelled and listed over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from chassis.database import Database
from schemas import OrderCancelled, OrderConfirmed, OrderPlaced
from services.orders.api import app
from services.orders.service import service as orders
from tests.integration.conftest import NewDatabase
from tests.support import sample_events
from tests.support.order_bodies import ORDER
from tests.support.principals import OPERATOR, client_of


@pytest.fixture
async def database(new_database: NewDatabase) -> AsyncIterator[Database]:
    app.state.database = await new_database("orders")
    yield app.state.database


@pytest.fixture
async def client(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app) as client:
        yield client


async def place(client: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    answer = await client.post("/orders", json=ORDER | changes)
    assert answer.status_code == 201, answer.text
    placed: dict[str, Any] = answer.json()
    return placed


async def test_an_order_is_priced_stored_and_published(client: httpx.AsyncClient, database: Database) -> None:
    placed = await place(client)
    assert (placed["status"], placed["version"], placed["total_cents"]) == ("placed", 1, 2 * 14_90 + 3 * 1_20)
    assert (await client.get(f"/orders/{placed['order_id']}")).json() == placed
    (event,) = await sample_events.published(database)
    assert isinstance(event, OrderPlaced)
    assert (event.order_id, event.total_cents, event.card_token) == (placed["order_id"], 33_40, "tok_visa")
    assert [(line.product_id, line.unit_price_cents) for line in event.lines] == [
        ("mug", 14_90),
        ("pencil", 1_20),
    ]
    assert not await sample_events.broken_checks("orders", database)


async def test_the_same_key_twenty_times_at_once_is_one_order(
    client: httpx.AsyncClient, database: Database
) -> None:
    key = {"Idempotency-Key": "press-the-button"}
    answers = await asyncio.gather(*(client.post("/orders", json=ORDER, headers=key) for _ in range(20)))
    assert {(answer.status_code, answer.text) for answer in answers} == {(201, answers[0].text)}
    assert len(await sample_events.published(database)) == 1
    assert len((await client.get("/orders")).json()["orders"]) == 1


async def test_a_key_used_before_for_another_order_is_refused(
    client: httpx.AsyncClient, database: Database
) -> None:
    key = {"Idempotency-Key": "k-1"}
    assert (await client.post("/orders", json=ORDER, headers=key)).status_code == 201
    assert (await client.post("/orders", json=ORDER | {"customer_id": "c-2"}, headers=key)).status_code == 422
    assert len(await sample_events.published(database)) == 1


async def test_a_refused_order_can_be_corrected_under_the_same_key(client: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "k-1"}
    assert (await client.post("/orders", json=ORDER | {"customer_id": ""}, headers=key)).status_code == 422
    assert (await client.post("/orders", json=ORDER, headers=key)).status_code == 201


async def test_a_placed_order_can_be_cancelled_once(client: httpx.AsyncClient, database: Database) -> None:
    placed = await place(client)
    path, key = f"/orders/{placed['order_id']}/cancel", {"Idempotency-Key": "k-1"}
    cancelled = await client.post(path, headers=key)
    assert cancelled.status_code == 200
    assert (cancelled.json()["status"], cancelled.json()["cancel_reason"]) == (
        "cancelled",
        "customer_request",
    )
    assert (await client.post(path, headers=key)).text == cancelled.text
    again = await client.post(path)
    assert (again.status_code, again.json()["order_id"]) == (409, placed["order_id"])
    assert [type(event) for event in await sample_events.published(database)] == [OrderPlaced, OrderCancelled]
    assert not await sample_events.broken_checks("orders", database)


async def test_a_confirmed_and_a_shipped_order_cannot_be_cancelled(
    client: httpx.AsyncClient, database: Database
) -> None:
    order_id = (await place(client))["order_id"]
    await sample_events.deliver(
        database, orders, sample_events.payment_processed(order_id), sample_events.stock_reserved(order_id)
    )
    assert (await client.post(f"/orders/{order_id}/cancel")).status_code == 409
    await sample_events.deliver(database, orders, sample_events.order_shipped(order_id))
    refusal = await client.post(f"/orders/{order_id}/cancel")
    assert refusal.status_code == 409
    assert "shipped" in refusal.json()["detail"]


async def test_a_cancellation_that_races_with_the_confirmation_is_decided_once(
    client: httpx.AsyncClient, database: Database
) -> None:
    for number in range(20):
        order_id = (await place(client))["order_id"]
        await sample_events.deliver(database, orders, sample_events.payment_processed(order_id))
        tries: list[Any] = [
            sample_events.deliver(database, orders, sample_events.stock_reserved(order_id)),
            client.post(f"/orders/{order_id}/cancel"),
        ]
        answers = await asyncio.gather(*(tries if number % 2 else reversed(tries)))
        (cancel,) = (answer for answer in answers if answer is not None)
        status = (await client.get(f"/orders/{order_id}")).json()["status"]
        assert (cancel.status_code, status) in [(200, "cancelled"), (409, "confirmed")]
        decisions = [event for event in await sample_events.published(database) if event.key == order_id][1:]
        assert [type(event) for event in decisions] == [
            OrderCancelled if status == "cancelled" else OrderConfirmed
        ]
    assert not await sample_events.broken_checks("orders", database)


async def test_twenty_cancellations_at_once_are_one(client: httpx.AsyncClient, database: Database) -> None:
    order_id = (await place(client))["order_id"]
    answers = await asyncio.gather(*(client.post(f"/orders/{order_id}/cancel") for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 19
    assert [type(event) for event in await sample_events.published(database)] == [OrderPlaced, OrderCancelled]


async def test_orders_are_listed_newest_first_page_by_page(client: httpx.AsyncClient) -> None:
    ids = [(await place(client))["order_id"] for _ in range(5)]
    seen: list[str] = []
    query: dict[str, Any] | None = {"limit": 2}
    while query:
        page = (await client.get("/orders", params=query)).json()
        seen += [order["order_id"] for order in page["orders"]]
        query = {"limit": 2, "before": page["next_before"]} if page["next_before"] else None
    assert seen == ids[::-1]


async def test_orders_are_listed_by_flag_and_by_status(client: httpx.AsyncClient, database: Database) -> None:
    flagged, clear, unjudged = [(await place(client))["order_id"] for _ in range(3)]
    await sample_events.deliver(
        database,
        orders,
        sample_events.fraud_assessed(flagged),
        sample_events.fraud_assessed(clear, suspicious=False),
    )
    await sample_events.deliver(database, orders, sample_events.stock_rejected(unjudged))

    async def listed(**query: Any) -> list[str]:
        answer = await client.get("/orders", params=query, headers=OPERATOR)
        return [order["order_id"] for order in answer.json()["orders"]]

    assert await listed(flagged=True) == [flagged]
    assert await listed(flagged=False) == [clear]
    assert await listed(status="cancelled") == [unjudged]
    assert await listed(status="placed", flagged=True) == [flagged]
    assert await listed() == [unjudged, clear, flagged]


async def test_products_are_listed_with_their_prices(client: httpx.AsyncClient) -> None:
    products = {product["product_id"]: product for product in (await client.get("/products")).json()}
    assert products["beans-1kg"] | {"name": ""} == {
        "product_id": "beans-1kg",
        "name": "",
        "price_cents": 18_50,
        "currency": "EUR",
    }
    assert {"mug", "limited-print", "sold-out-poster"} < products.keys()


async def test_an_order_keeps_the_price_it_was_placed_at(
    client: httpx.AsyncClient, database: Database
) -> None:
    placed = await place(client)
    async with database.transaction() as db:
        await db.execute(text("UPDATE products SET price_cents = 1"))
    assert (await client.get(f"/orders/{placed['order_id']}")).json() == placed
