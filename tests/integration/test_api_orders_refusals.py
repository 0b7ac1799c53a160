"""Invalid requests to orders are refused with the name of the field, and have no effect."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from chassis.database import Database
from services.orders.api import app
from tests.integration.conftest import NewDatabase
from tests.support import sample_events
from tests.support.order_bodies import LINES, ORDER
from tests.support.principals import client_of


@pytest.fixture
async def database(new_database: NewDatabase) -> AsyncIterator[Database]:
    app.state.database = await new_database("orders")
    yield app.state.database


@pytest.fixture
async def client(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app) as client:
        yield client


def fields(refusal: httpx.Response) -> list[str]:
    assert refusal.headers["content-type"] == "application/problem+json"
    return [error["field"] for error in refusal.json()["errors"]]


def changed(**changes: Any) -> dict[str, Any]:
    return ORDER | changes


def line(**changes: Any) -> dict[str, Any]:
    return changed(lines=[{"product_id": "mug", "quantity": 1} | changes])


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in ORDER.items() if key != name}


NOT_ORDERS: list[tuple[object, str]] = [
    (line(product_id="unicorn"), "lines[0].product_id"),
    (line(product_id="Müg"), "lines[0].product_id"),
    (line(product_id="mug\0"), "lines[0].product_id"),
    (line(quantity=0), "lines[0].quantity"),
    (line(quantity=-1), "lines[0].quantity"),
    (line(quantity=1001), "lines[0].quantity"),
    (line(quantity="2"), "lines[0].quantity"),
    (line(quantity=1.5), "lines[0].quantity"),
    (line(quantity=True), "lines[0].quantity"),
    (line(quantity=None), "lines[0].quantity"),
    (line(unit_price_cents=1), "lines[0].unit_price_cents"),
    (changed(lines=[LINES[0], LINES[0]]), "lines"),
    (changed(lines=[]), "lines"),
    (changed(lines=[{"product_id": f"p-{n}", "quantity": 1} for n in range(51)]), "lines"),
    (changed(lines="mug"), "lines"),
    (changed(currency="USD"), "currency"),
    (changed(currency="eur"), "currency"),
    (changed(currency=978), "currency"),
    (changed(payment_method="cash"), "payment_method"),
    (changed(card_token=None), "card_token"),
    (without("card_token"), "card_token"),
    (changed(payment_method="invoice"), "card_token"),
    (changed(card_token="4111 1111 1111 1111"), "card_token"),
    (changed(customer_id="c-1"), "customer_id"),
    (without("currency"), "currency"),
    (without("lines"), "lines"),
    (changed(total_cents=1), "total_cents"),
    ([], "body"),
    (None, "body"),
]


async def test_an_invalid_order_is_refused_with_the_name_of_the_field(
    client: httpx.AsyncClient, database: Database
) -> None:
    for body, field in NOT_ORDERS:
        refusal = await client.post("/orders", json=body)
        assert (body, refusal.status_code, fields(refusal)) == (body, 422, [field])
    assert await sample_events.published(database) == []
    assert (await client.get("/orders")).json()["orders"] == []


async def test_a_body_that_is_not_json_is_refused(client: httpx.AsyncClient) -> None:
    for content in (b"", b"{", b"\xff\xfe", b"nonsense"):
        refusal = await client.post("/orders", content=content, headers={"content-type": "application/json"})
        assert (content, refusal.status_code in (400, 422)) == (content, True)
        assert refusal.headers["content-type"] == "application/problem+json"


async def test_a_body_over_64_kib_is_refused(client: httpx.AsyncClient, database: Database) -> None:
    refusal = await client.post("/orders", json=changed(card_token="x" * 65_536))
    assert refusal.status_code == 413
    assert await sample_events.published(database) == []


@pytest.mark.parametrize(("method", "path"), [("GET", "/orders/{}"), ("POST", "/orders/{}/cancel")])
async def test_an_unknown_order_is_404_and_a_malformed_id_422(
    method: str, path: str, client: httpx.AsyncClient
) -> None:
    unknown = await client.request(method, path.format(uuid4()))
    malformed = await client.request(method, path.format("order-1"))
    assert unknown.status_code == 404
    assert unknown.headers["content-type"] == "application/problem+json"
    assert (malformed.status_code, fields(malformed)) == (422, ["order_id"])


async def test_an_invalid_query_parameter_is_refused(client: httpx.AsyncClient) -> None:
    for query in ("limit=0", "limit=201", "limit=x", "status=lost", "flagged=maybe", "before=yesterday"):
        refusal = await client.get(f"/orders?{query}")
        assert (query, refusal.status_code, fields(refusal)) == (query, 422, [query.partition("=")[0]])
