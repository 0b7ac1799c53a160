"""Every API has problem details, limits, health endpoints and the Idempotency-Key."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from pydantic import BaseModel, Field
from sqlalchemy import Column, Identity, Integer, MetaData, Table, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import Database
from chassis.http.app import Problem, create_api
from chassis.http.idempotency import Idempotent
from chassis.http.idempotency_keys import idempotency_keys
from chassis.service import Service
from fanout.tokens import bearer
from tests.integration.conftest import NewDatabase
from tests.support.principals import SIGNER, client_of

shop = Service("fraud", MetaData())
sales = Table(
    "sales", shop.metadata, Column("id", Integer, Identity(), primary_key=True), Column("amount", Integer)
)
app = create_api(shop)


class Sale(BaseModel):
    amount: int = Field(gt=0)
    lines: list[dict[str, int]] = []


@app.post("/sales", status_code=201)
async def sell(sale: Sale, request: Idempotent) -> dict[str, Any]:
    return await request.run(sale, store, sale)  # type: ignore[return-value]  # FastAPI returns a response unchanged


async def store(db: AsyncConnection, sale: Sale) -> dict[str, Any]:
    if sale.amount == 13:
        raise Problem(409, "unlucky", "13 is not sold here.", amount=13)
    return {"id": await db.scalar(insert(sales).values(amount=sale.amount).returning(sales.c.id))}


@app.get("/bug")
async def bug() -> None:
    raise RuntimeError("secret internals")


@pytest.fixture
async def database(new_database: NewDatabase) -> AsyncIterator[Database]:
    database = await new_database("fraud")
    async with database.engine.begin() as connection:
        await connection.run_sync(sales.create)
    app.state.database = database
    yield database


@pytest.fixture
async def client(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app) as client:
        yield client


async def count(database: Database, table: Table) -> int:
    async with database.transaction() as db:
        return await db.scalar(select(func.count()).select_from(table)) or 0


async def test_the_same_key_and_body_is_one_effect_and_one_answer(
    client: httpx.AsyncClient, database: Database
) -> None:
    answers = [
        await client.post("/sales", json={"amount": 5}, headers={"Idempotency-Key": "k"}) for _ in range(3)
    ]
    assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert len({answer.content for answer in answers}) == 1
    assert [answer.headers.get("Idempotent-Replayed") for answer in answers] == [None, "true", "true"]
    assert await count(database, sales) == 1


async def test_the_same_key_of_two_customers_is_two_requests(
    client: httpx.AsyncClient, database: Database
) -> None:
    answers = [
        await client.post(
            "/sales",
            json={"amount": amount},
            headers=bearer(SIGNER.customer(name)) | {"Idempotency-Key": "k"},
        )
        for name, amount in (("ada", 5), ("bob", 6), ("bob", 6), ("ada", 5))
    ]
    ids = [answer.json()["id"] for answer in answers]
    assert ids[0] == ids[3] != ids[1] == ids[2]
    assert await count(database, sales) == 2


async def test_a_customer_and_an_operator_of_one_name_are_two_principals(
    client: httpx.AsyncClient, database: Database
) -> None:
    for token in (SIGNER.customer("ada"), SIGNER.operator("ada")):
        headers = bearer(token) | {"Idempotency-Key": "k"}
        answer = await client.post("/sales", json={"amount": 5}, headers=headers)
        assert "Idempotent-Replayed" not in answer.headers
    assert await count(database, sales) == 2


async def test_twenty_concurrent_requests_of_one_key_are_one_effect(
    client: httpx.AsyncClient, database: Database
) -> None:
    requests = (
        client.post("/sales", json={"amount": 5}, headers={"Idempotency-Key": "k"}) for _ in range(20)
    )
    answers = await asyncio.gather(*requests)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert await count(database, sales) == 1


async def test_the_same_key_with_another_body_is_refused(
    client: httpx.AsyncClient, database: Database
) -> None:
    await client.post("/sales", json={"amount": 5}, headers={"Idempotency-Key": "k"})
    answer = await client.post("/sales", json={"amount": 6}, headers={"Idempotency-Key": "k"})
    assert answer.status_code == 422
    assert answer.json()["reason"] == "key used before"
    assert await count(database, sales) == 1


async def test_a_refused_request_can_be_repeated_with_its_key(
    client: httpx.AsyncClient, database: Database
) -> None:
    answer = await client.post("/sales", json={"amount": 13}, headers={"Idempotency-Key": "k"})
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["amount"] == 13
    assert await count(database, idempotency_keys) == 0


async def test_each_request_without_a_key_has_its_effect(
    client: httpx.AsyncClient, database: Database
) -> None:
    for _ in range(2):
        assert (await client.post("/sales", json={"amount": 5})).status_code == 201
    assert await count(database, sales) == 2


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_an_invalid_key_is_refused(client: httpx.AsyncClient, key: str) -> None:
    answer = await client.post("/sales", json={"amount": 5}, headers={"Idempotency-Key": key})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "idempotency-key"


async def test_an_invalid_body_names_the_field(client: httpx.AsyncClient) -> None:
    answer = await client.post("/sales", json={"amount": 0, "lines": [{"a": "x"}]})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert {error["field"] for error in answer.json()["errors"]} == {"amount", "lines[0].a"}


async def test_a_body_that_is_not_json_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/sales", content=b"{", headers={"content-type": "application/json"})
    assert answer.status_code == 422


async def test_a_body_over_64_kib_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/sales", json={"amount": 1, "lines": [{"a": 1}] * 10_000})
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_body_over_64_kib_of_unannounced_length_is_refused(client: httpx.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(70):
            yield b"x" * 1024

    answer = await client.post("/sales", content=chunks(), headers={"content-type": "application/json"})
    assert answer.status_code == 413


async def test_an_unknown_path_is_a_problem_too(client: httpx.AsyncClient) -> None:
    answer = await client.get("/nowhere")
    assert (answer.status_code, answer.json()["title"]) == (404, "Not Found")


async def test_a_bug_shows_no_internals(client: httpx.AsyncClient) -> None:
    answer = await client.get("/bug")
    assert answer.status_code == 500
    assert "secret internals" not in answer.text


async def test_the_docs_page_loads_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    page = (await client.get("/docs")).text
    assert "://" not in page.replace("http://test", "")
    assert (await client.get("/static-offline-docs/swagger-ui-bundle.js")).status_code == 200


async def test_the_ready_endpoint_reports_whether_the_database_answers(client: httpx.AsyncClient) -> None:
    assert (await client.get("/health/ready")).status_code == 200
    app.state.database = Database("postgresql+asyncpg://nobody:x@127.0.0.1:1/none")
    assert (await client.get("/health/ready")).status_code == 503
    assert (await client.get("/health/live")).status_code == 200


async def test_an_unavailable_database_is_a_503_with_retry_after(client: httpx.AsyncClient) -> None:
    app.state.database = Database("postgresql+asyncpg://nobody:x@127.0.0.1:1/none")
    answer = await client.post("/sales", json={"amount": 5})
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
