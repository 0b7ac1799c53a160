"""What is not HTTP is refused with problem details, and never in the place of another request's answer."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from chassis.http.problems import MAX_BODY_BYTES
from chassis.http.protocol import MAX_HEAD_BYTES
from tests.support.http_server import read_answer, serving

GET = b"GET /slowly HTTP/1.1\r\nHost: here\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"
NOT_HTTP = {
    "a bad request line": b"hello\r\n\r\n",
    "a TLS handshake": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "an unknown version": b"GET / HTTP/9.9\r\n\r\n",
    "a space in the target": b"GET /a b HTTP/1.1\r\nHost: here\r\n\r\n",
    "NUL in a header": b"GET / HTTP/1.1\r\nHost: here\r\nX: a\0b\r\n\r\n",
    "a header without a name": b"GET / HTTP/1.1\r\n: x\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na",
    "a length that is no number": b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    "a length and chunks": CHUNKED.replace(b"Host: here", b"Content-Length: 3"),
    "a bad chunk": CHUNKED + b"zz\r\n",
    "a bad chunk after a good one": CHUNKED + b"3\r\nabc\r\nzz\r\n",
    "no path": b"CONNECT here:80 HTTP/1.1\r\nHost: here\r\n\r\n",
    "a path beyond ASCII": b"GET /\xff HTTP/1.1\r\nHost: here\r\n\r\n",
}


class Api:
    """Answers each request with its path, after a moment."""

    def __init__(self) -> None:
        self.called = 0
        self.port = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self.called += 1
        if scope["path"] == "/slowly":
            await asyncio.sleep(0.2)
        await PlainTextResponse(scope["path"])(scope, receive, send)

    async def all_of(self, *pieces: bytes) -> bytes:
        """Returns all that comes, until the connection is closed."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)  # each piece is a read of its own for the server
        try:
            return await asyncio.wait_for(reader.read(), 5)
        finally:
            writer.close()


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    api = Api()
    async with serving(api) as api.port:
        yield api


@pytest.mark.parametrize("sent", NOT_HTTP.values(), ids=NOT_HTTP.keys())
async def test_what_is_not_http_is_answered_400_with_problem_details(api: Api, sent: bytes) -> None:
    head, _, body = (await api.all_of(sent)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"content-type: application/problem+json" in head and b"connection: close" in head
    assert b"cache-control: no-store" in head
    assert json.loads(body)["reason"] == "invalid HTTP"
    assert api.called == 0


@pytest.mark.parametrize("pieces", [1, 7])
@pytest.mark.parametrize(
    "line", [b"GET /%s HTTP/1.1\r\nHost: here\r\n\r\n", b"GET / HTTP/1.1\r\nX: %s\r\n\r\n"]
)
async def test_a_head_that_is_too_large_is_answered_431(api: Api, line: bytes, pieces: int) -> None:
    sent = line % (b"x" * MAX_HEAD_BYTES)
    size = len(sent) // pieces + 1
    answer = await api.all_of(*(sent[at : at + size] for at in range(0, len(sent), size)))
    assert answer.startswith(b"HTTP/1.1 431 ") and b"application/problem+json" in answer
    assert answer.count(b"HTTP/1.1") == 1
    assert api.called == 0


async def test_a_head_without_end_is_answered_431_when_it_is_too_large(api: Api) -> None:
    answer = await api.all_of(b"GET / HTTP/1.1\r\nX: ", b"x" * MAX_HEAD_BYTES)
    assert answer.startswith(b"HTTP/1.1 431 ")


async def test_a_large_body_in_one_piece_with_its_head_is_not_taken_for_a_head(api: Api) -> None:
    body = b"x" * MAX_BODY_BYTES
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    for _ in range(2):
        writer.write(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert (await read_answer(reader)).startswith(b"HTTP/1.1 200")
    writer.close()


@pytest.mark.parametrize("nonsense", [b"hello\r\n\r\n", CHUNKED + b"zz\r\n"])
@pytest.mark.parametrize("is_apart", [True, False])
async def test_nonsense_after_a_request_does_not_take_the_place_of_its_answer(
    api: Api, nonsense: bytes, is_apart: bool
) -> None:
    answers = await api.all_of(*([GET, nonsense] if is_apart else [GET + nonsense]))
    assert answers.startswith(b"HTTP/1.1 200") and answers.partition(b"HTTP/1.1 400")[0].endswith(b"/slowly")
