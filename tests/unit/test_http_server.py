"""The HTTP server accepts all waiting connections at once, and refuses POSTs before parsing them."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import uvloop
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from chassis.http import server
from chassis.http.admission import AdmissionControl
from tests.support.http_server import read_answer, serving

BODY = b'{"a": 1}'
POST = b"POST /orders HTTP/1.1\r\nHost: here\r\nContent-Length: 8\r\n\r\n" + BODY
UNUSUAL = [
    POST.replace(b"1.1", b"1.0"),
    POST.replace(b"Host: here", b"Host: here\r\nConnection: close"),
    b"POST /orders HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    POST.replace(b"Host: here", b"Host: here\r\nExpect: 100-continue"),
    POST + POST,
]


async def answering(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    while (await receive()).get("more_body"):
        pass
    await PlainTextResponse("taken")(scope, receive, send)


class Api:
    """An API behind admission control, which is full while `wait` is over a quarter of a second."""

    def __init__(self) -> None:
        self.wait = 0.0
        self.app = AdmissionControl(answering, lambda: self.wait)
        self.port = 0

    async def ask(self, *pieces: bytes, answers: int = 1) -> list[bytes]:
        """Sends pieces one after the other over one connection, and returns the answers."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)  # each piece is a read of its own for the server
        received = [await read_answer(reader) for _ in range(answers)]
        writer.close()
        return received


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    api = Api()
    async with serving(api.app) as api.port:
        yield api


def is_parsed(answer: bytes) -> bool:
    """Whether uvicorn parsed the request: only then it adds its own headers."""
    return b"server: uvicorn" in answer


async def test_a_whole_post_is_refused_unparsed_with_the_same_answer_as_a_parsed_one(api: Api) -> None:
    api.wait = 10.0
    early, late = (await api.ask(POST))[0], (await api.ask(POST[:30], POST[30:]))[0]
    assert not is_parsed(early) and is_parsed(late)
    own = {line for line in late.split(b"\r\n") if not line.startswith((b"date:", b"server:"))}
    assert set(early.split(b"\r\n")) == own
    assert early.startswith(b"HTTP/1.1 503 ") and b"retry-after: 1" in early


async def test_a_refused_connection_serves_the_next_request(api: Api) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    for api.wait, answer in [(10.0, b"503"), (0.0, b"200"), (10.0, b"503"), (10.0, b"503"), (0.0, b"200")]:
        writer.write(POST)
        assert (await read_answer(reader))[9:12] == answer
    writer.close()


@pytest.mark.parametrize("data", UNUSUAL)
async def test_a_request_that_is_not_one_whole_plain_post_is_parsed(api: Api, data: bytes) -> None:
    api.wait = 10.0
    assert not server._is_one_whole_post(data)
    assert is_parsed((await api.ask(data))[0])


async def test_the_rest_of_a_request_is_not_taken_for_a_post_that_it_looks_like(api: Api) -> None:
    api.wait = 10.0
    inner = POST.replace(b"/orders", b"/other")
    outer = f"POST /orders HTTP/1.1\r\nHost: here\r\nContent-Length: {len(inner)}\r\n\r\n".encode()
    assert [is_parsed(each) for each in await api.ask(outer, inner)] == [True]
    head = b"POST /orders HTTP/1.1\r\nX-Long: "
    assert [is_parsed(each) for each in await api.ask(head, POST)] == [True]


def test_all_waiting_connections_are_accepted_in_a_few_iterations_of_the_event_loop() -> None:
    async def turns_from_first_to_last(count: int) -> int:
        turn = 0
        taken_in: list[int] = []

        def next_turn() -> None:
            nonlocal turn
            turn += 1
            if len(taken_in) < count:
                asyncio.get_running_loop().call_soon(next_turn)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                taken_in.append(turn)
                await answering(scope, receive, send)

        async with serving(app) as port:
            clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
            for client in clients:
                client.sendall(POST)
            next_turn()
            for client in clients:
                reader, writer = await asyncio.open_connection(sock=client)
                assert (await read_answer(reader)).startswith(b"HTTP/1.1 200")
                writer.close()
        return taken_in[-1] - taken_in[0]

    assert uvloop.run(turns_from_first_to_last(300)) < 30
