"""The small HTTP client: connections are reused, and what was perhaps sent is never called unsent."""

import asyncio
import json

import pytest

from fanout.http_client import Client, NoAnswer, NotConnected, Response, problem_of
from tests.support.scripted_api import CLOSE, Reply, Request, scripted_api


async def answer(request: Request) -> Reply:
    return Reply(200, request.body, {"X-Path": request.path})


async def test_a_connection_is_used_again_once_it_is_idle() -> None:
    connections = 0

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while await reader.readuntil(b"\r\n\r\n{}"):
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    async with Client(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as client:
        for _ in range(3):
            assert (await client.post("/", b"{}", {})).body == b"{}"
    server.close()
    assert connections == 1


async def test_headers_and_body_arrive() -> None:
    async with scripted_api(answer) as url, Client(url) as client:
        response = await client.post("/orders", b'{"a": 1}', {"Idempotency-Key": "k"})
    assert (response.status, response.headers["x-path"], response.body) == (200, "/orders", b'{"a": 1}')


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            b'{"type": "about:blank", "title": "Not ready", "detail": "Postgres is away."}',
            "Not ready: Postgres is away.",
        ),
        (b'{"title": "Not ready"}', "Not ready"),
        (b'{"error": "busy"}', '{"error": "busy"}'),
        (b"", ""),
        (b"[1]", "[1]"),
        (b"upstream\x1b[2J gone", "upstream\N{REPLACEMENT CHARACTER}[2J gone"),
    ],
)
def test_an_answer_that_refuses_is_told_by_its_title_and_detail(body: bytes, said: str) -> None:
    assert problem_of(Response(503, {}, body)) == f"503 {said}".rstrip()


def test_a_long_detail_is_whole_and_another_long_body_ends_with_a_whole_word() -> None:
    detail = "word " * 100 + "end"
    body = json.dumps({"title": "Refused", "detail": detail}).encode()
    assert problem_of(Response(422, {}, body)) == f"422 Refused: {detail}"
    cut = problem_of(Response(502, {}, detail.encode()))
    assert len(cut) < 210 and cut.endswith("word…")


async def test_requests_do_not_wait_for_each_other() -> None:
    arrived, everyone = 0, asyncio.Event()

    async def meet(request: Request) -> Reply:
        nonlocal arrived
        arrived += 1
        if arrived == 300:
            everyone.set()
        await everyone.wait()
        return Reply()

    async with scripted_api(meet) as url, Client(url) as client:
        await asyncio.gather(*(client.post("/", b"{}", {}) for _ in range(300)))


async def test_no_more_than_the_limit_are_under_way() -> None:
    under_way = most = 0

    async def count(request: Request) -> Reply:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1
        return Reply()

    async with scripted_api(count) as url, Client(url, at_once=3) as client:
        await asyncio.gather(*(client.post("/", b"{}", {}) for _ in range(20)))
    assert most == 3


async def test_a_connection_that_was_closed_while_idle_is_replaced() -> None:
    async def close_after_answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(close_after_answering, "127.0.0.1", 0)
    async with Client(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as client:
        for _ in range(3):
            assert (await client.post("/", b"{}", {})).status == 200
    server.close()


async def test_half_an_answer_is_no_answer() -> None:
    async def close(request: Request) -> Reply:
        return CLOSE

    async with scripted_api(close) as url, Client(url) as client:
        with pytest.raises(NoAnswer):
            await client.post("/", b"{}", {})


async def test_a_server_that_dies_over_a_request_leaves_it_without_an_answer_and_refuses_the_next() -> None:
    async def serve_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await reader.readuntil(b"{}")
        server.close()
        writer.close()

    server = await asyncio.start_server(serve_once, "127.0.0.1", 0)
    async with Client(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as client:
        await client.post("/", b"{}", {})
        with pytest.raises(NoAnswer):
            await client.post("/", b"{}", {})
        with pytest.raises(NotConnected):
            await client.post("/", b"{}", {})
