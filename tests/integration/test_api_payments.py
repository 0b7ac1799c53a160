"""Invoices are paid over HTTP: once, in full, and only while there is something to pay."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from chassis.database import Database
from schemas import PaymentProcessed, PaymentRefunded
from services.payments.api import app
from services.payments.service import service as payments
from tests.integration.conftest import NewDatabase
from tests.support import sample_events
from tests.support.principals import client_of


@pytest.fixture
async def database(new_database: NewDatabase) -> AsyncIterator[Database]:
    database = await new_database("payments")
    app.state.database = database
    yield database
    assert not await sample_events.broken_checks("payments", database)


@pytest.fixture
async def client(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app) as client:
        yield client


@pytest.fixture
async def order_id(database: Database) -> str:
    """An order by invoice, over 10.00 EUR."""
    order_id = str(uuid4())
    await sample_events.deliver(database, payments, sample_events.order_placed(order_id, card_token=None))
    return order_id


def payment(order_id: str) -> dict[str, Any]:
    return {"order_id": order_id, "amount_cents": 1000, "currency": "EUR"}


def fields(refusal: httpx.Response) -> list[str]:
    assert refusal.headers["content-type"] == "application/problem+json"
    return [error["field"] for error in refusal.json()["errors"]]


async def test_an_invoice_is_paid_and_the_payment_published(
    order_id: str, client: httpx.AsyncClient, database: Database
) -> None:
    paid = await client.post("/payments", json=payment(order_id))
    assert (paid.status_code, paid.json()["status"], paid.json()["order_id"]) == (201, "authorized", order_id)
    (event,) = await sample_events.published(database)
    assert isinstance(event, PaymentProcessed)
    assert (event.outcome, event.payment_method, event.amount_cents) == ("authorized", "invoice", 1000)
    assert event.payment_id == paid.json()["payment_id"]


async def test_a_payment_is_found_by_its_own_id_and_by_its_orders(
    order_id: str, client: httpx.AsyncClient
) -> None:
    by_order = await client.get(f"/payments/{order_id}")
    assert (by_order.status_code, by_order.json()["status"]) == (200, "pending")
    assert (await client.get(f"/payments/{by_order.json()['payment_id']}")).json() == by_order.json()


async def test_a_payment_that_differs_from_the_invoice_is_refused_with_the_name_of_the_field(
    order_id: str, client: httpx.AsyncClient, database: Database
) -> None:
    misfits: list[tuple[dict[str, Any], str]] = [
        ({"amount_cents": 999}, "amount_cents"),
        ({"amount_cents": 1001}, "amount_cents"),
        ({"amount_cents": 0}, "amount_cents"),
        ({"amount_cents": -1000}, "amount_cents"),
        ({"amount_cents": "1000"}, "amount_cents"),
        ({"amount_cents": 1000.5}, "amount_cents"),
        ({"amount_cents": 10**30}, "amount_cents"),
        ({"currency": "USD"}, "currency"),
        ({"currency": "euro"}, "currency"),
        ({"order_id": "order-1"}, "order_id"),
        ({"tip_cents": 5}, "tip_cents"),
    ]
    for wrong, field in misfits:
        refusal = await client.post("/payments", json=payment(order_id) | wrong)
        assert (wrong, refusal.status_code, fields(refusal)) == (wrong, 422, [field])
    assert await sample_events.published(database) == []


async def test_an_unknown_id_is_a_404_and_a_malformed_one_a_422(client: httpx.AsyncClient) -> None:
    assert (await client.post("/payments", json=payment(str(uuid4())))).status_code == 404
    assert (await client.get(f"/payments/{uuid4()}")).status_code == 404
    assert (await client.get("/payments/p-1")).status_code == 422


async def test_a_paid_invoice_is_not_paid_again_but_the_same_key_gets_the_same_answer(
    order_id: str, client: httpx.AsyncClient, database: Database
) -> None:
    key = {"Idempotency-Key": "k-1"}
    paid = await client.post("/payments", json=payment(order_id), headers=key)
    assert (await client.post("/payments", json=payment(order_id), headers=key)).text == paid.text
    assert (await client.post("/payments", json=payment(order_id))).status_code == 409
    assert len(await sample_events.published(database)) == 1


async def test_twenty_payments_of_one_invoice_at_once_are_one(
    order_id: str, client: httpx.AsyncClient, database: Database
) -> None:
    answers = await asyncio.gather(*(client.post("/payments", json=payment(order_id)) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 19
    assert len(await sample_events.published(database)) == 1


@pytest.mark.parametrize("card_token", ["tok_visa", "tok_declined"])
async def test_an_order_by_card_has_no_invoice(
    card_token: str, client: httpx.AsyncClient, database: Database
) -> None:
    order_id = str(uuid4())
    await sample_events.deliver(
        database, payments, sample_events.order_placed(order_id, card_token=card_token)
    )
    refusal = await client.post("/payments", json=payment(order_id))
    assert (refusal.status_code, refusal.json()["order_id"]) == (409, order_id)


async def test_a_cancelled_order_cannot_be_paid(
    order_id: str, client: httpx.AsyncClient, database: Database
) -> None:
    await sample_events.deliver(database, payments, sample_events.order_cancelled(order_id))
    refusal = await client.post("/payments", json=payment(order_id))
    assert refusal.status_code == 409
    assert "cancelled" in refusal.json()["detail"]


async def test_a_payment_that_races_with_the_cancellation_is_refused_or_refunded(
    client: httpx.AsyncClient, database: Database
) -> None:
    for number in range(20):
        order_id = str(uuid4())
        await sample_events.deliver(database, payments, sample_events.order_placed(order_id, card_token=None))
        tries: list[Any] = [
            sample_events.deliver(database, payments, sample_events.order_cancelled(order_id)),
            client.post("/payments", json=payment(order_id)),
        ]
        answers = await asyncio.gather(*(tries if number % 2 else reversed(tries)))
        (paid,) = (answer for answer in answers if answer is not None)
        status = (await client.get(f"/payments/{order_id}")).json()["status"]
        assert (paid.status_code, status) in [(201, "refunded"), (409, "voided")]
        events = [type(event) for event in await sample_events.published(database) if event.key == order_id]
        assert events == ([PaymentProcessed, PaymentRefunded] if status == "refunded" else [])
