"""Conditions of the database, such as a lock or read-only mode, are answered 503 with Retry-After, never 500."""

from collections.abc import AsyncIterator

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL

from chassis.database import Database
from services.orders.api import app
from tests.integration.conftest import NewDatabase
from tests.support.databases import administer, named_url
from tests.support.order_bodies import ORDER
from tests.support.principals import client_of


@pytest.fixture
async def database(new_database: NewDatabase) -> Database:
    return await new_database("orders")


@pytest.fixture
async def client(database: Database, postgres_url: URL) -> AsyncIterator[httpx.AsyncClient]:
    """Its API waits 20 ms for a lock."""
    name = str(database.engine.url.database)
    await administer(postgres_url, f"ALTER DATABASE {name} SET lock_timeout = '20ms'")
    app.state.database = Database(named_url(postgres_url, name))
    async with client_of(app) as client:
        yield client
    await app.state.database.close()


@pytest.mark.parametrize(
    ("condition", "recovery"),
    [
        ("LOCK TABLE orders IN SHARE MODE", "SELECT 1"),
        ("ALTER TABLE order_lines RENAME TO later", "ALTER TABLE later RENAME TO order_lines"),
        (
            "ALTER TABLE orders RENAME COLUMN total_cents TO later",
            "ALTER TABLE orders RENAME COLUMN later TO total_cents",
        ),
    ],
    ids=["locked", "missing table", "missing column"],
)
async def test_a_condition_of_the_database_is_a_503_with_retry_after(
    client: httpx.AsyncClient, database: Database, condition: str, recovery: str
) -> None:
    async with database.transaction() as db:
        await db.execute(text(condition))
        if condition.startswith("LOCK"):
            answer = await client.post("/orders", json=ORDER)
    if not condition.startswith("LOCK"):
        answer = await client.post("/orders", json=ORDER)
    assert (answer.status_code, answer.headers.get("retry-after")) == (503, "1"), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    async with database.transaction() as db:
        await db.execute(text(recovery))
    assert (await client.post("/orders", json=ORDER)).status_code == 201


async def test_a_read_only_database_is_a_503(
    client: httpx.AsyncClient, postgres_url: URL, database: Database
) -> None:
    name = database.engine.url.database
    await administer(postgres_url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    answer = await client.post("/orders", json=ORDER)
    assert (answer.status_code, answer.headers.get("retry-after")) == (503, "1"), answer.text


async def test_a_column_that_is_altered_under_a_running_api_causes_no_500(
    client: httpx.AsyncClient, database: Database
) -> None:
    for _ in range(3):
        assert (await client.get("/orders")).status_code == 200
    async with database.transaction() as db:
        await db.execute(text("ALTER TABLE orders ALTER COLUMN customer_id TYPE varchar(200)"))
    assert (await client.get("/orders")).status_code in (200, 503)
    assert (await client.get("/orders")).status_code == 200
