"""The examples on the page of each API work as they are: each is sent, with a token, to the real API on a database."""

from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from chassis.database import Database
from schemas import OrderPlaced
from services.analytics.api import app as analytics
from services.dead_letters.api import app as dead_letters
from services.orders.api import app as orders
from services.payments.api import app as payments
from services.payments.service import service as payments_service
from tests.integration.conftest import NewDatabase
from tests.support import sample_events
from tests.support.dead_letter_service import many, store
from tests.support.principals import CUSTOMER, OPERATOR, client_of

Document = Mapping[str, Any]
METHODS = ("get", "post", "put", "patch", "delete")


def bodies(app: FastAPI, path: str, method: str = "post") -> dict[str, Any]:
    """Returns the examples of an operation's body by their names."""
    content = app.openapi()["paths"][path][method]["requestBody"]["content"]["application/json"]
    return {name: example["value"] for name, example in content["examples"].items()}


def example(app: FastAPI, path: str) -> dict[str, Any]:
    [body] = bodies(app, path).values()
    return dict(body)


async def place_each_example(database: Database) -> dict[str, dict[str, Any]]:
    """Returns the answers of POST /orders by the names of the examples."""
    orders.state.database = database
    async with client_of(orders) as customer:
        answers = {
            name: await customer.post("/orders", json=body)
            for name, body in bodies(orders, "/orders").items()
        }
    assert {answer.status_code for answer in answers.values()} == {201}, answers
    return {name: answer.json() for name, answer in answers.items()}


async def succeed(app: FastAPI, headers: Mapping[str, str], *requests: tuple[str, str, Any]) -> None:
    async with client_of(app, headers) as client:
        for method, path, body in requests:
            answer: httpx.Response = await client.request(method, path, json=body)
            assert answer.is_success, (method, path, answer.text)


async def test_each_example_order_is_placed_and_can_be_shown_listed_and_cancelled(
    new_database: NewDatabase,
) -> None:
    placed = await place_each_example(await new_database("orders"))

    some = next(iter(placed.values()))["order_id"]
    await succeed(
        orders,
        CUSTOMER,
        ("GET", f"/orders/{some}", None),
        ("GET", "/orders", None),
        ("GET", "/products", None),
        ("POST", f"/orders/{some}/cancel", None),
    )


async def test_the_example_payment_pays_for_the_example_order_by_invoice(new_database: NewDatabase) -> None:
    of_orders, of_payments = await new_database("orders"), await new_database("payments")
    await place_each_example(of_orders)
    placed = [each for each in await sample_events.published(of_orders) if isinstance(each, OrderPlaced)]
    await sample_events.deliver(of_payments, payments_service, *placed)
    [invoice] = [each for each in placed if each.payment_method == "invoice"]

    payments.state.database = of_payments
    payment = example(payments, "/payments") | {"order_id": invoice.order_id}
    await succeed(
        payments,
        CUSTOMER,
        ("POST", "/payments", payment),
        ("GET", f"/payments/{invoice.order_id}", None),
    )


async def test_figures_are_shown_without_any_parameter(new_database: NewDatabase) -> None:
    analytics.state.database = await new_database("analytics")
    await succeed(analytics, OPERATOR, ("GET", "/sales", None), ("GET", "/funnel", None))


@pytest.mark.parametrize("action", ["redrive", "discard"])
async def test_the_example_of_an_action_works_on_the_example_of_a_dead_letter(
    action: str, new_database: NewDatabase
) -> None:
    dead_letters.state.database = await new_database("dead_letters")
    await store(dead_letters.state.database, *many(3, consumer="orders"))
    one, all_of_them = "/dead-letters/{dead_letter_id}", f"/dead-letters/{action}"
    [parameter] = [
        each
        for each in dead_letters.openapi()["paths"][one]["get"]["parameters"]
        if each["name"] == "dead_letter_id"
    ]
    number = parameter["schema"]["examples"][0]

    await succeed(
        dead_letters,
        OPERATOR,
        ("GET", "/dead-letters", None),
        ("GET", f"/dead-letters/{number}", None),
        ("POST", f"/dead-letters/{number}/{action}", example(dead_letters, f"{one}/{action}")),
    )
    async with client_of(dead_letters, OPERATOR) as client:
        answer = await client.post(all_of_them, json=example(dead_letters, all_of_them))
    assert answer.json()["count"] == (2 if action == "redrive" else 1), answer.text


def test_every_operation_with_a_body_has_an_example_that_is_sent_here() -> None:
    """A body that is new needs a test above."""
    found = {
        path
        for app in (orders, payments, analytics, dead_letters)
        for path, methods in app.openapi()["paths"].items()
        for method in METHODS
        if "requestBody" in methods.get(method, {}) and bodies(app, path, method)
    }
    one, many_ = "/dead-letters/{dead_letter_id}", "/dead-letters"
    actions = {f"{place}/{action}" for place in (one, many_) for action in ("redrive", "discard")}
    assert found == {"/orders", "/payments"} | actions
