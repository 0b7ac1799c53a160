"""Each POST is answered within a second: limited by number, by waiting time, and by the time of its answer."""

import asyncio
import time
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Message

from chassis.http import admission
from chassis.http.admission import ADMITTED_AT_ONCE, ANSWER_SECONDS, AdmissionControl


class Server:
    """An application that answers when it is released, behind admission control."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.wait = 0.0
        self.taken = 0
        app = Starlette(routes=[Route("/", self.answer, methods=["GET", "POST"])])
        self.app = AdmissionControl(app, lambda: self.wait)
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://test")

    async def answer(self, request: Request) -> PlainTextResponse:
        self.taken += 1
        await self.go.wait()
        return PlainTextResponse("done")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    yield server
    await server.http.aclose()


async def test_requests_over_the_limit_are_refused_at_once_and_the_others_answered(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A slow machine may take a second for 400 requests.
    monkeypatch.setattr(admission, "ANSWER_SECONDS", 60.0)
    asked = [asyncio.create_task(server.http.post("/")) for _ in range(ADMITTED_AT_ONCE + 30)]
    refused = [await each for each in asked[ADMITTED_AT_ONCE:]]
    assert {(answer.status_code, answer.headers["Retry-After"]) for answer in refused} == {(503, "1")}
    assert refused[0].headers["content-type"] == "application/problem+json"
    assert refused[0].json()["reason"] == "overloaded"
    server.go.set()
    assert {(await each).status_code for each in asked[:ADMITTED_AT_ONCE]} == {200}
    assert server.taken == ADMITTED_AT_ONCE
    assert (await server.http.post("/")).status_code == 200


async def test_new_requests_are_refused_while_others_wait_too_long(server: Server) -> None:
    server.go.set()
    server.wait = 10.0
    assert (await server.http.post("/")).status_code == 503
    assert server.taken == 0
    server.wait = 0.0
    assert (await server.http.post("/")).status_code == 200


async def test_a_request_without_an_answer_gets_a_503_within_a_second(server: Server) -> None:
    """Asked by hand, since httpx' transport waits for the application even when there is an answer already."""
    sent: asyncio.Queue[Message] = asyncio.Queue()

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    began = time.monotonic()
    scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""}
    pending = asyncio.create_task(server.app(scope, receive, sent.put))
    start, body = await sent.get(), await sent.get()
    assert ANSWER_SECONDS <= time.monotonic() - began < 1.0
    assert start["status"] == 503
    assert b"Idempotency-Key" in body["body"]
    server.go.set()
    await pending
    assert sent.empty(), "the late answer goes nowhere"
    assert (await server.http.post("/")).text == "done"


async def test_a_get_is_never_refused(server: Server) -> None:
    server.go.set()
    server.wait = 10.0
    assert (await server.http.get("/")).status_code == 200
