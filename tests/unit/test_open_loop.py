"""The benchmark's client: it counts what happened, and hides nothing."""

import asyncio
import socket

from tests.benchmarks.whole.open_loop import Offered, run
from tests.support.principals import PRIVATE_KEY
from tests.support.scripted_api import CLOSE, Reply, Request, Script, scripted_api

CREATED = Reply(201, {"order_id": "o1"})
REFUSED = Reply(503, {}, {"Retry-After": "1"})


async def offered(script: Script, rate: float, count: int, connections: int, grace: float = 5) -> Offered:
    async with scripted_api(script) as url:
        return await run(url, str(PRIVATE_KEY), rate, count, connections, grace)


async def test_every_order_is_counted_by_its_answer() -> None:
    replies = [CREATED, REFUSED, Reply(503), Reply(422), CLOSE] * 4

    async def answer(request: Request) -> Reply:
        return replies.pop()

    found = await offered(answer, 1_000, 20, 5)
    assert found.outcomes == {"201": 4, "503": 4, "503 without Retry-After": 4, "422": 4, "reset": 4}
    assert (found.accepted, found.late_from_sent) == (4, 4)


async def test_orders_are_sent_when_they_are_due_whatever_became_of_earlier_ones() -> None:
    arrived, everyone = 0, asyncio.Event()

    async def meet(request: Request) -> Reply:
        nonlocal arrived
        arrived += 1
        if arrived == 100:
            everyone.set()
        await everyone.wait()
        return CREATED

    assert (await offered(meet, 1_000, 100, 100)).outcomes == {"201": 100}


async def test_an_order_without_a_free_connection_waits_and_counts_from_when_it_was_due() -> None:
    async def slowly(request: Request) -> Reply:
        await asyncio.sleep(0.1)
        return CREATED

    found = await offered(slowly, 1_000, 5, 1)
    assert found.outcomes == {"201": 5}
    assert found.from_due[2] >= 400 > found.from_sent[2]


async def test_what_cannot_be_sent_in_time_is_not_sent() -> None:
    async def slowly(request: Request) -> Reply:
        await asyncio.sleep(0.5)
        return CREATED

    found = await offered(slowly, 1_000, 10, 2, grace=0.1)
    assert found.outcomes == {"201": 2, "not sent": 8}


async def test_a_server_that_is_not_there_counts_as_late() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    found = await run(url, str(PRIVATE_KEY), 1_000, 10, 3, 1)
    assert found.outcomes == {"not connected": 10}
    assert found.late_from_sent == 10
