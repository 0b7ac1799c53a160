"""The synchronous service on a real Postgres, with listeners that are well, slow, rude, or gone."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import asyncpg
import httpx
import pytest
from sqlalchemy.engine import URL

from examples.synchronous.payments import app
from tests.support.databases import administer, named_url
from tests.support.http_server import serving
from tests.support.scripted_api import SILENCE, Reply, Request, scripted_api

DATABASE = "test_synchronous_payments"
PAYMENT = {"order_id": "o1", "customer_id": "ada", "amount_cents": 1250, "currency": "EUR"}
LISTENER_SECONDS = 1.0

Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def database_url(postgres_url: URL) -> Iterator[str]:
    asyncio.run(administer(postgres_url, f"CREATE DATABASE {DATABASE}"))
    yield named_url(postgres_url, DATABASE).replace("+asyncpg", "")
    asyncio.run(administer(postgres_url, f"DROP DATABASE {DATABASE} WITH (FORCE)"))


@pytest.fixture
def serve(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """`async with serve(URL, …) as client` runs the service with these listeners."""

    @asynccontextmanager
    async def serving_payments(*listeners: str, **settings: str) -> AsyncIterator[httpx.AsyncClient]:
        environment = {
            "DATABASE_URL": database_url,
            "LISTENERS": json.dumps(listeners),
            "LISTENER_SECONDS": str(LISTENER_SECONDS),
            **settings,
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        async with serving(app) as port:
            url = f"http://127.0.0.1:{port}"
            async with httpx.AsyncClient(base_url=url, timeout=10, trust_env=False) as client:
                yield client

    return serving_payments


class Listener:
    """Gives the replies in their order, the last one again and again, and keeps what it was asked."""

    def __init__(self, *replies: Reply, seconds: float = 0.0) -> None:
        self.replies, self.seconds = list(replies), seconds
        self.asked: list[Request] = []
        self.url = ""

    async def script(self, request: Request) -> Reply:
        self.asked.append(request)
        await asyncio.sleep(self.seconds)
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@pytest.fixture
async def listeners() -> AsyncIterator[list[Listener]]:
    """One that is well, and one that is slow and well."""
    first, second = Listener(Reply(200)), Listener(Reply(200), seconds=0.2)
    async with scripted_api(first.script) as first.url, scripted_api(second.script) as second.url:
        yield [first, second]


async def test_a_payment_is_stored_and_every_listener_told_before_the_answer(
    serve: Serve, listeners: list[Listener], database_url: str
) -> None:
    async with serve(*(f"{each.url}/payments" for each in listeners)) as client:
        answer = await client.post("/payments", json=PAYMENT)
        assert answer.status_code == 201
        payment = answer.json()
        assert payment == PAYMENT | {"payment_id": payment["payment_id"]}
        for listener in listeners:
            [request] = listener.asked
            assert (request.path, request.body) == ("/payments", payment)
            assert request.headers["idempotency-key"] == payment["payment_id"]
        assert await rows(database_url) == [("o1", 1250, True)]


async def test_the_answer_takes_as_long_as_the_listeners_one_after_the_other(serve: Serve) -> None:
    slow = Listener(Reply(200), seconds=0.2)
    async with scripted_api(slow.script) as url, serve(url, url, url) as client:
        assert (await timed(client))[1] >= 0.6


async def test_a_payment_sent_again_is_the_same_payment_and_nobody_is_told_again(
    serve: Serve, listeners: list[Listener], database_url: str
) -> None:
    async with serve(*(each.url for each in listeners)) as client:
        first, *others = await asyncio.gather(*(client.post("/payments", json=PAYMENT) for _ in range(3)))
        told = len(listeners[0].asked)
        again = await client.post("/payments", json=PAYMENT)
        assert {each.status_code for each in (first, *others, again)} == {201}
        assert {each.text for each in (first, *others, again)} == {first.text}
        assert len(listeners[0].asked) == told
        assert await rows(database_url) == [("o1", 1250, True)]


async def test_an_order_is_not_paid_twice_with_different_terms(
    serve: Serve, listeners: list[Listener], database_url: str
) -> None:
    async with serve(listeners[0].url) as client:
        await client.post("/payments", json=PAYMENT)
        answer = await client.post("/payments", json=PAYMENT | {"amount_cents": 1})
        assert answer.status_code == 409
        assert await rows(database_url) == [("o1", 1250, True)]
        assert len(listeners[0].asked) == 1


@pytest.mark.parametrize(
    "change",
    [{"amount_cents": 0}, {"amount_cents": "12"}, {"currency": "€"}, {"customer_id": "a b"}, {"tip": 1}],
)
async def test_what_is_no_payment_is_refused_and_nobody_told(
    serve: Serve, listeners: list[Listener], database_url: str, change: dict[str, Any]
) -> None:
    async with serve(listeners[0].url) as client:
        assert (await client.post("/payments", json=PAYMENT | change)).status_code == 422
        assert not await rows(database_url) and not listeners[0].asked


@pytest.mark.parametrize("failure", [Reply(503), Reply(500), Reply(429)], ids=lambda reply: str(reply.status))
async def test_a_listener_that_fails_once_is_asked_again(serve: Serve, failure: Reply) -> None:
    listener = Listener(failure, Reply(200))
    async with scripted_api(listener.script) as url, serve(url) as client:
        status, seconds = await timed(client)
    assert status == 201 and len(listener.asked) == 2
    assert seconds >= 0.1, "without a backoff"
    assert len({request.headers["idempotency-key"] for request in listener.asked}) == 1


async def test_a_listener_that_refuses_the_content_is_not_asked_again(serve: Serve) -> None:
    listener = Listener(Reply(422))
    async with scripted_api(listener.script) as url, serve(url) as client:
        assert (await timed(client))[0] == 503
    assert len(listener.asked) == 1


async def test_after_a_listener_that_fails_the_payment_stands_and_the_request_may_be_repeated(
    serve: Serve, database_url: str
) -> None:
    listener = Listener(Reply(503), Reply(503), Reply(200))
    async with scripted_api(listener.script) as url, serve(f"{url}/notify") as client:
        refused = await client.post("/payments", json=PAYMENT)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert "the payment is stored" in refused.text and "/notify answers 503" in refused.text
        assert await rows(database_url) == [("o1", 1250, False)]
        assert (await client.post("/payments", json=PAYMENT)).status_code == 201
        assert await rows(database_url) == [("o1", 1250, True)]


async def test_a_listener_that_is_gone_costs_two_attempts_and_one_that_is_silent_two_time_outs(
    serve: Serve,
) -> None:
    async with serve("http://127.0.0.1:9/") as client:
        status, seconds = await timed(client)
        assert status == 503 and seconds < LISTENER_SECONDS
    silent = Listener(SILENCE)
    async with scripted_api(silent.script) as url, serve(url) as client:
        status, seconds = await timed(client)
    assert status == 503 and len(silent.asked) == 2
    assert 2 * LISTENER_SECONDS <= seconds < 2 * LISTENER_SECONDS + 2


async def test_on_request_a_failing_listener_is_logged_and_the_payment_accepted(
    serve: Serve, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve("http://127.0.0.1:9/", IF_NOT_TOLD="log") as client:
        assert (await timed(client))[0] == 201
        assert await rows(database_url) == [("o1", 1250, False)]
    assert "does not answer (ConnectError)" in caplog.text


async def timed(client: httpx.AsyncClient) -> tuple[int, float]:
    began = time.monotonic()
    answer = await client.post("/payments", json=PAYMENT)
    return answer.status_code, time.monotonic() - began


async def rows(database_url: str) -> list[tuple[str, int, bool]]:
    connection = await asyncpg.connect(database_url)
    try:
        found = await connection.fetch("SELECT order_id, amount_cents, told_at IS NOT NULL FROM payments")
        return [tuple(row) for row in found]
    finally:
        await connection.close()
