"""A slow client costs a connection for a while and nothing else: whatever it does not finish is closed in time."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterable
from time import monotonic

import pytest
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from chassis.http import protocol, server
from chassis.http.admission import ADMITTED_AT_ONCE, AdmissionControl
from tests.support.http_server import read_answer, serving

POST = b'POST /orders HTTP/1.1\r\nHost: here\r\nContent-Length: 8\r\n\r\n{"a": 1}'
DEADLINE = 0.4
LARGE = 32 * 1024 * 1024
"""More than the buffers of a connection take."""


async def _each(pieces: Iterable[str]) -> AsyncIterator[str]:
    for piece in pieces:
        yield piece


class Api:
    """Answers a whole body at once, /work after two deadlines, and /large with LARGE bytes in many pieces."""

    def __init__(self) -> None:
        self.called = 0
        self.port = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self.called += 1
        while (await receive()).get("more_body"):
            pass
        if scope["path"] == "/work":
            await asyncio.sleep(2 * DEADLINE)
        if scope["path"] == "/large":
            pieces = ("x" * 65_536 for _ in range(LARGE // 65_536))
            await StreamingResponse(_each(pieces))(scope, receive, send)
        else:
            await PlainTextResponse("taken")(scope, receive, send)

    async def open(self, *sent: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for piece in sent:
            writer.write(piece)
        await writer.drain()
        return reader, writer

    async def remains_of(self, *sent: bytes) -> bytes:
        """Sends this and nothing more, and returns all that comes until the connection is closed."""
        reader, writer = await self.open(*sent)
        try:
            return await asyncio.wait_for(reader.read(), 10)
        finally:
            writer.close()


@pytest.fixture
async def api(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    monkeypatch.setattr(protocol, "DEADLINE_SECONDS", DEADLINE)
    monkeypatch.setattr(server, "SWEEP_SECONDS", 0.02)
    api = Api()
    async with serving(AdmissionControl(api, lambda: 0.0)) as api.port:
        yield api


@pytest.mark.parametrize(
    "begun",
    [POST[:9], POST[:30], POST[:-20], POST[:-3], POST.replace(b"Content-Length: 8", b"Content-Length: 9")],
)
async def test_a_request_that_is_not_complete_in_time_is_answered_408_and_closed(
    api: Api, begun: bytes
) -> None:
    began = monotonic()
    head, _, body = (await api.remains_of(begun)).partition(b"\r\n\r\n")
    assert DEADLINE <= monotonic() - began < DEADLINE + 3
    assert head.startswith(b"HTTP/1.1 408 Request Timeout\r\n") and b"connection: close" in head
    assert b"content-type: application/problem+json" in head
    assert json.loads(body)["reason"] == "too slow"
    assert api.called == 0


@pytest.mark.parametrize("sent", [b"", b"\r\n"])
async def test_a_connection_without_a_request_is_closed_in_silence(api: Api, sent: bytes) -> None:
    assert await api.remains_of(sent) == b""


async def test_an_idle_connection_is_closed_after_its_answer(api: Api) -> None:
    assert (await api.remains_of(POST)).count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("begun", [POST[:30], POST[:-8].replace(b"8", b"60000")])
async def test_a_client_that_sends_a_byte_now_and_then_gains_no_time(api: Api, begun: bytes) -> None:
    reader, writer = await api.open(begun)
    answer, began = asyncio.create_task(reader.read()), monotonic()
    while not answer.done() and monotonic() - began < 10 * DEADLINE:
        writer.write(b"x")
        await asyncio.wait([answer], timeout=DEADLINE / 10)
    assert answer.done() and b"HTTP/1.1 408" in answer.result()
    writer.close()


async def test_a_client_that_reads_nothing_is_disconnected(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    is_closed, lose = asyncio.Event(), protocol.DeadlineProtocol.connection_lost

    def connection_lost(connection: protocol.DeadlineProtocol, error: Exception | None) -> None:
        lose(connection, error)
        is_closed.set()

    monkeypatch.setattr(protocol.DeadlineProtocol, "connection_lost", connection_lost)
    with socket.create_connection(("127.0.0.1", api.port)) as client:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: here\r\n\r\n")
        await asyncio.wait_for(is_closed.wait(), 10)


async def test_work_that_takes_longer_than_the_deadline_is_answered(api: Api) -> None:
    reader, writer = await api.open(b"GET /work HTTP/1.1\r\nHost: here\r\n\r\n")
    assert (await read_answer(reader)).startswith(b"HTTP/1.1 200")
    writer.write(POST)
    assert (await read_answer(reader)).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_a_connection_that_is_used_again_and_again_lives_on(api: Api) -> None:
    reader, writer = await api.open()
    began = monotonic()
    while monotonic() - began < 3 * DEADLINE:
        writer.write(POST)
        assert (await read_answer(reader)).startswith(b"HTTP/1.1 200")
        await asyncio.sleep(DEADLINE / 8)
    writer.close()


async def test_requests_whose_bodies_do_not_come_take_no_place_of_others(api: Api) -> None:
    slow = [await api.open(POST[:-1]) for _ in range(ADMITTED_AT_ONCE + 10)]
    reader, writer = await api.open(POST)
    assert (await read_answer(reader)).startswith(b"HTTP/1.1 200")
    assert api.called == 1
    for _, each in [*slow, (reader, writer)]:
        each.close()


async def test_a_body_in_pieces_and_one_that_waits_for_100_continue_are_served(api: Api) -> None:
    reader, writer = await api.open(POST[:-4])
    await asyncio.sleep(0.05)  # the rest is a read of its own for the server
    writer.write(POST[-4:])
    assert (await read_answer(reader)).startswith(b"HTTP/1.1 200")
    writer.write(POST[:-8].replace(b"Host", b"Expect: 100-continue\r\nHost"))
    assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5) == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(POST[-8:])
    assert (await read_answer(reader)).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_the_server_stops_at_once_though_requests_are_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api()
    async with serving(api) as api.port:
        slow = [await api.open(POST[:end]) for end in (20, -3)]
        await asyncio.sleep(0.1)
        began = monotonic()
    assert monotonic() - began < 2
    for _, each in slow:
        each.close()
