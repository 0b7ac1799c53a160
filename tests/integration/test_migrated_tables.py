"""A migration between two requests makes prepared statements outdated: the next requests are answered all the same."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from chassis.database import Database
from services.orders.api import app
from tests.integration.conftest import NewDatabase
from tests.support import sample_events
from tests.support.order_bodies import ORDER
from tests.support.principals import client_of

AT_ONCE = 20
"""More requests than the pool has connections, so that each connection has prepared its statements."""


@pytest.fixture
async def database(new_database: NewDatabase) -> AsyncIterator[Database]:
    app.state.database = await new_database("orders")
    yield app.state.database


@pytest.fixture
async def client(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app) as client:
        yield client


async def statuses(client: httpx.AsyncClient, method: str, path: str, count: int = AT_ONCE) -> set[int]:
    async def ask(number: int) -> int:
        body = {"json": ORDER, "headers": {"Idempotency-Key": f"{number}"}} if path == "/orders" else {}
        return (await client.request(method, path, **body)).status_code  # type: ignore[arg-type]

    return set(await asyncio.gather(*(ask(number) for number in range(count))))


async def alter(database: Database, *columns: str) -> None:
    """Changes the types of columns, as a migration in another process would."""
    for column in columns:
        table, _, name = column.partition(".")
        await sample_events.change(database, f"ALTER TABLE {table} ALTER COLUMN {name} TYPE varchar(250)")


async def test_reading_goes_on_after_a_migration(client: httpx.AsyncClient, database: Database) -> None:
    placed = (await client.post("/orders", json=ORDER)).json()["order_id"]
    for path in ("/products", "/orders?limit=5", f"/orders/{placed}"):
        assert await statuses(client, "GET", path) == {200}
    await alter(database, "products.name", "orders.customer_id", "order_lines.product_id")
    for path in ("/products", "/orders?limit=5", f"/orders/{placed}"):
        assert await statuses(client, "GET", path) == {200}


async def test_orders_are_placed_and_cancelled_once_after_a_migration(
    client: httpx.AsyncClient, database: Database
) -> None:
    placed = (await client.post("/orders", json=ORDER)).json()["order_id"]
    for _ in range(2):
        assert await statuses(client, "POST", "/orders") == {201}
    assert await statuses(client, "POST", f"/orders/{placed}/cancel") == {200, 409}
    await alter(database, "idempotency_keys.key", "idempotency_keys.principal", "orders.customer_id")
    assert await statuses(client, "POST", "/orders", AT_ONCE * 2) == {201}
    assert await statuses(client, "POST", f"/orders/{placed}/cancel") == {409}
    assert len((await client.get("/orders?limit=200")).json()["orders"]) == AT_ONCE * 2 + 1


async def test_one_request_at_a_time_meets_each_outdated_connection_and_is_answered(
    client: httpx.AsyncClient, database: Database
) -> None:
    placed = (await client.post("/orders", json=ORDER)).json()["order_id"]

    async def cancel(key: str) -> int:
        path, headers = f"/orders/{placed}/cancel", {"Idempotency-Key": key}
        return (await client.post(path, headers=headers)).status_code

    for turn in range(2):
        await asyncio.gather(*(cancel(f"{turn}-{number}") for number in range(AT_ONCE)))
    await alter(database, "idempotency_keys.key", "idempotency_keys.principal")
    assert [await cancel(f"later-{number}") for number in range(AT_ONCE)] == [409] * AT_ONCE
