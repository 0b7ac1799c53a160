"""Requests that are unusual and right are served, and those that nobody could store are refused before the database."""

import json

import httpx
import pytest

from chassis.database import Database
from services.dead_letters.tables import actions
from services.orders.api import app as orders
from tests.integration.conftest import NewDatabase
from tests.support import sample_events
from tests.support.dead_letter_service import many, redriven_messages, served, store, stored
from tests.support.order_bodies import ORDER
from tests.support.principals import client_of

JSON = {"Content-Type": "application/json"}
EVENT = json.dumps(sample_events.order_confirmed("order-0").to_record())
CORRECTIONS = {
    "a lone surrogate": EVENT.replace('"EUR"', r'"\ud800"'),
    "NUL": EVENT.replace('"EUR"', r'"\u0000"'),
    "a name twice": EVENT.replace("{", '{"currency": "USD", ', 1),
    "deep nesting": EVENT.replace('"EUR"', "[" * 260 + "]" * 260),
    "a number beyond floats": EVENT.replace('"EUR"', "1e999"),
    "a huge integer": EVENT.replace('"EUR"', "9" * 5000),
}


@pytest.fixture
async def dead_letters(new_database: NewDatabase) -> Database:
    database = await new_database("dead_letters")
    await store(database, *many(1))
    return database


@pytest.mark.parametrize("correction", CORRECTIONS.values(), ids=CORRECTIONS.keys())
async def test_a_correction_that_nobody_could_store_is_422_and_changes_nothing(
    dead_letters: Database, correction: str
) -> None:
    body = f'{{"why": "it was wrong", "correction": {correction}}}'
    async with served(dead_letters) as client:
        refusal = await client.post("/dead-letters/1/redrive", content=body, headers=JSON)
    assert (refusal.status_code, refusal.headers["content-type"]) == (422, "application/problem+json")
    assert await stored(dead_letters, actions) == []
    assert await redriven_messages(dead_letters) == []


async def test_an_id_in_upper_case_is_the_same_order_also_for_an_idempotency_key(
    new_database: NewDatabase,
) -> None:
    orders.state.database = await new_database("orders")
    async with client_of(orders) as client:
        order_id: str = (await client.post("/orders", json=ORDER)).json()["order_id"]
        assert (await client.get(f"/orders/{order_id.upper()}")).json()["order_id"] == order_id
        first, again = [await cancel(client, each) for each in (order_id, order_id.upper())]
    assert (first.status_code, again.status_code) == (200, 200)
    assert (again.text, again.headers["Idempotent-Replayed"]) == (first.text, "true")


async def cancel(client: httpx.AsyncClient, order_id: str) -> httpx.Response:
    return await client.post(f"/orders/{order_id}/cancel", headers={"Idempotency-Key": "k"})
