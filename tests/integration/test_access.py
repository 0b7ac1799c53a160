"""Who may do what, over HTTP: each principal, each operation of each API, an own and another's object.

The operations are those of the APIs' OpenAPI: a route that is new needs a decision here. What 401 and 403 refuse is
refused without a database: there is none in these cells.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI

from chassis.database import Database
from fanout.tokens import bearer
from services.analytics.api import app as analytics
from services.dead_letters.api import app as dead_letters
from services.orders.api import app as orders
from services.orders.models import NewOrder
from services.payments.api import app as payments
from services.payments.service import service as payments_service
from tests.integration.conftest import NewDatabase
from tests.support import sample_events
from tests.support.dead_letter_service import WHY, many, store
from tests.support.order_bodies import ORDER
from tests.support.principals import OPERATOR, SIGNER, client_of
from tests.unit.test_tokens import EXPIRED, FOR_ANOTHER_SYSTEM, FORGED, UNSIGNED

APPS = {"orders": orders, "payments": payments, "analytics": analytics, "dead_letters": dead_letters}
METHODS = {"get", "post", "put", "patch", "delete"}

INVALID = {
    "nobody": {},
    "not a token": {"Authorization": "Bearer ada"},
    "another scheme": {"Authorization": "Basic YWRhOmFkYQ=="},
    "expired": bearer(EXPIRED),
    "forged": bearer(FORGED),
    "unsigned": bearer(UNSIGNED),
    "for elsewhere": bearer(FOR_ANOTHER_SYSTEM),
}
OWNER, OTHER = "ada", "bob"
TOTAL_CENTS = 2 * 14_90 + 3 * 1_20
PRINCIPALS: dict[str, Mapping[str, str]] = {
    **INVALID,
    "other": bearer(SIGNER.customer(OTHER)),
    "owner": bearer(SIGNER.customer(OWNER)),
    "operator": OPERATOR,
}
"""In this order, so that what is refused meets objects as they were."""

ALLOWED, UNAUTHENTICATED, FORBIDDEN, UNKNOWN = "allowed", "401", "403", "404"
OPEN = dict.fromkeys(PRINCIPALS, ALLOWED)
WITH_TOKEN = OPEN | dict.fromkeys(INVALID, UNAUTHENTICATED)
OWN = WITH_TOKEN | {"other": UNKNOWN}
OPERATORS = WITH_TOKEN | {"other": FORBIDDEN, "owner": FORBIDDEN}
CUSTOMERS = WITH_TOKEN | {"operator": FORBIDDEN}

DECISIONS = {
    "POST /orders": CUSTOMERS,
    "GET /orders": WITH_TOKEN,
    "GET /orders?flagged=true": OPERATORS,
    "GET /orders/{order_id}": OWN,
    "POST /orders/{order_id}/cancel": OWN,
    "GET /products": OPEN,
    "POST /payments": OWN,
    "GET /payments/{payment_or_order_id}": OWN,
    "GET /sales": OPERATORS,
    "GET /funnel": OPERATORS,
    "GET /dead-letters": OPERATORS,
    "GET /dead-letters/{dead_letter_id}": OPERATORS,
    "POST /dead-letters/{dead_letter_id}/redrive": OPERATORS,
    "POST /dead-letters/{dead_letter_id}/discard": OPERATORS,
    "POST /dead-letters/redrive": OPERATORS,
    "POST /dead-letters/discard": OPERATORS,
    "GET /": OPEN,
    "GET /health/live": OPEN,
    "GET /health/ready": OPEN,
    "GET /metrics": OPEN,
    "GET /openapi.json": OPEN,
    "GET /docs": OPEN,
}
BESIDE_THE_ROUTES = [name for name, who in DECISIONS.items() if "flagged" in name or "/he" in name] + [
    "GET /",
    "GET /metrics",
    "GET /openapi.json",
    "GET /docs",
]
"""Operations that OpenAPI does not list."""


@dataclass
class Objects:
    """The databases of the services, an order of the owner's with its payment, and a dead letter."""

    databases: dict[str, Database]
    order_id: str
    payment_id: str
    bodies: dict[str, Any] = field(default_factory=dict)


class NoDatabase:
    """Takes the place of a database in the cells that must be refused before any work of it."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a refused request used the database: {name}")


@pytest.fixture
async def objects(new_database: NewDatabase) -> Objects:
    databases = {name: await new_database(name) for name in APPS}
    invoice = {"currency": "EUR", "payment_method": "invoice", "lines": ORDER["lines"]}
    new = NewOrder.model_validate(invoice)
    order_id = await sample_events.place_order(databases["orders"], new, OWNER)
    placed = (await sample_events.published(databases["orders"]))[0]
    await sample_events.deliver(databases["payments"], payments_service, placed)
    await store(databases["dead_letters"], *many(1))
    shown = await call(payments, databases["payments"], "GET", f"/payments/{order_id}", OPERATOR)
    return Objects(databases, order_id, str(shown.json()["payment_id"]))


def operations() -> dict[str, tuple[str, str, str]]:
    """Returns service, method and path of every operation, by its name in DECISIONS."""
    found = {
        f"{method.upper()} {path}": (service, method.upper(), path)
        for service, app in APPS.items()
        for path, methods in app.openapi()["paths"].items()
        for method in methods.keys() & METHODS
    }
    beside = {name: ("orders", name.split(" ")[0], name.split(" ")[1]) for name in BESIDE_THE_ROUTES}
    return found | beside


def test_every_route_has_a_decision_and_every_decision_a_route() -> None:
    assert operations().keys() == DECISIONS.keys()


@pytest.mark.parametrize("app", APPS.values(), ids=APPS)
def test_no_route_is_hidden_from_openapi_but_those_that_are_open(app: FastAPI) -> None:
    paths = {getattr(route, "path", "") for route in app.routes}
    beside = {name.split(" ")[1] for name in BESIDE_THE_ROUTES}
    assert paths - app.openapi()["paths"].keys() - beside == {"/docs/oauth2-redirect", "/static-offline-docs"}


async def test_nobody_can_do_what_is_not_theirs_and_everybody_what_is(objects: Objects) -> None:
    found: dict[str, dict[str, str]] = {}
    for name, (service, method, path) in operations().items():
        found[name] = {}
        for principal, headers in PRINCIPALS.items():
            refused_before = DECISIONS[name][principal] in (UNAUTHENTICATED, FORBIDDEN)
            database = NoDatabase() if refused_before else objects.databases[service]
            answer = await request(objects, APPS[service], database, method, path, headers)
            found[name][principal] = outcome(answer)
    show(found)
    wrong = [
        (name, principal, cell, DECISIONS[name][principal])
        for name, cells in found.items()
        for principal, cell in cells.items()
        if cell != DECISIONS[name][principal]
    ]
    assert wrong == []
    print(f"{len(found)} operations by {len(PRINCIPALS)} principals: 0 open, 0 closed by mistake")


def outcome(answer: httpx.Response) -> str:
    """Refusals must be problem details, and 401 must say how to be known."""
    if answer.status_code in (401, 403, 404):
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers.get("www-authenticate", "").startswith("Bearer") is (answer.status_code == 401)
        return str(answer.status_code)
    assert answer.status_code < 500, answer.text
    return ALLOWED


def show(found: Mapping[str, Mapping[str, str]]) -> None:
    width = max(map(len, found))
    print("\n" + " " * width + "  " + "  ".join(PRINCIPALS))
    for name, cells in found.items():
        print(f"{name:<{width}}  " + "  ".join(f"{cells[each]:<{len(each)}}" for each in PRINCIPALS))


async def request(
    objects: Objects, app: FastAPI, database: Any, method: str, path: str, headers: Mapping[str, str]
) -> httpx.Response:
    """Asks for the owner's order and payment, and for the only dead letter."""
    ids = {"order_id": objects.order_id, "payment_or_order_id": objects.payment_id, "dead_letter_id": 1}
    body = None
    if method == "POST":
        body = ORDER if path == "/orders" else payment(objects.order_id) if path == "/payments" else dict(WHY)
    if path in ("/dead-letters/redrive", "/dead-letters/discard"):
        body = WHY | {"all": True}
    return await call(app, database, method, path.format(**ids), headers, body)


async def call(
    app: FastAPI, database: Any, method: str, path: str, headers: Mapping[str, str], body: Any = None
) -> httpx.Response:
    app.state.database = database
    async with client_of(app, headers) as client:
        return await client.request(method, path, json=body)


def payment(order_id: str) -> dict[str, Any]:
    return {"order_id": order_id, "amount_cents": TOTAL_CENTS, "currency": "EUR"}


Ask = Callable[[str], Awaitable[httpx.Response]]


@pytest.mark.parametrize("is_decided", [False, True])
async def test_what_is_anothers_is_answered_exactly_as_what_does_not_exist(
    objects: Objects, is_decided: bool
) -> None:
    """Also once it can neither be cancelled nor paid any more, which only its customer may know."""
    other, of_orders, of_payments = (
        PRINCIPALS["other"],
        objects.databases["orders"],
        objects.databases["payments"],
    )
    questions: list[tuple[str, Ask]] = [
        (objects.order_id, lambda id: call(orders, of_orders, "GET", f"/orders/{id}", other)),
        (objects.order_id, lambda id: call(orders, of_orders, "POST", f"/orders/{id}/cancel", other)),
        (objects.order_id, lambda id: call(payments, of_payments, "GET", f"/payments/{id}", other)),
        (objects.payment_id, lambda id: call(payments, of_payments, "GET", f"/payments/{id}", other)),
        (objects.order_id, lambda id: call(payments, of_payments, "POST", "/payments", other, payment(id))),
    ]
    if is_decided:
        of_owner = PRINCIPALS["owner"]
        await call(orders, of_orders, "POST", f"/orders/{objects.order_id}/cancel", of_owner)
        await call(payments, of_payments, "POST", "/payments", of_owner, payment(objects.order_id))
    for theirs, ask in questions:
        unknown = str(uuid4())
        answers = [await ask(theirs), await ask(unknown)]
        assert {answer.status_code for answer in answers} == {404}
        assert answers[0].text.replace(theirs, unknown) == answers[1].text
        assert answers[0].headers == answers[1].headers


async def test_a_refused_request_changes_nothing(objects: Objects) -> None:
    of_orders, of_payments, of_letters = (
        objects.databases[name] for name in ("orders", "payments", "dead_letters")
    )
    for principal in ("nobody", "expired", "forged", "unsigned", "other"):
        for name, (service, method, path) in operations().items():
            if method == "POST" and DECISIONS[name][principal] != ALLOWED:
                app, database = APPS[service], objects.databases[service]
                await request(objects, app, database, method, path, PRINCIPALS[principal])
    shown = await call(orders, of_orders, "GET", f"/orders/{objects.order_id}", OPERATOR)
    paid = await call(payments, of_payments, "GET", f"/payments/{objects.order_id}", OPERATOR)
    letter = await call(dead_letters, of_letters, "GET", "/dead-letters/1", OPERATOR)
    assert (shown.json()["status"], paid.json()["status"]) == ("placed", "pending")
    assert (letter.json()["status"], letter.json()["actions"]) == ("parked", [])
    assert len(await sample_events.published(of_orders)) == 1


async def test_a_customer_lists_his_own_orders_and_an_operator_all(objects: Objects) -> None:
    database = objects.databases["orders"]
    placed = await call(orders, database, "POST", "/orders", PRINCIPALS["other"], ORDER)
    theirs = placed.json()["order_id"]

    async def listed(principal: str) -> list[str]:
        answer = await call(orders, database, "GET", "/orders", PRINCIPALS[principal])
        return [order["order_id"] for order in answer.json()["orders"]]

    assert await listed("owner") == [objects.order_id]
    assert await listed("other") == [theirs]
    assert await listed("operator") == [theirs, objects.order_id]


async def test_an_order_is_its_senders_whatever_the_body_says(objects: Objects) -> None:
    database = objects.databases["orders"]
    placed = await call(orders, database, "POST", "/orders", PRINCIPALS["other"], ORDER)
    claimed = ORDER | {"customer_id": OWNER}
    refused = await call(orders, database, "POST", "/orders", PRINCIPALS["other"], claimed)
    assert (placed.status_code, placed.json()["customer_id"]) == (201, OTHER)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "customer_id")


@pytest.mark.parametrize(
    ("principal", "reason"),
    [
        ("nobody", "needs a token"),
        ("another scheme", "needs a token"),
        ("not a token", "malformed"),
        ("expired", "has expired"),
        ("forged", "not signed with this system's key"),
        ("unsigned", "not signed with this system's key"),
        ("for elsewhere", "for another system"),
    ],
)
async def test_a_401_says_why(principal: str, reason: str) -> None:
    answer = await call(orders, NoDatabase(), "GET", "/orders", PRINCIPALS[principal])
    assert (answer.status_code, reason in answer.json()["detail"]) == (401, True), answer.text
    is_named = 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert is_named is (principal not in ("nobody", "another scheme"))


@pytest.mark.parametrize("app", APPS.values(), ids=APPS)
def test_the_page_of_an_api_has_a_button_to_authorize_with(app: FastAPI) -> None:
    described = app.openapi()
    assert described["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            is_open = DECISIONS[f"{method.upper()} {path}"] is OPEN
            assert ("security" in operation) is not is_open
