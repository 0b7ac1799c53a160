"""`python -m tests.benchmarks.slow_sockets`: what 1,000 slow clients cost the others, and when they are gone.

The orders API, on a Postgres of its own; no Kafka. Good clients place and read orders at a steady rate, first alone,
then beside sockets that send half a head, half a body, or nothing after an answer. It prints and never fails.
"""

import argparse
import asyncio
import resource
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import quantiles
from time import monotonic

import httpx

from chassis.database import Database
from chassis.migrations import migrate
from chassis.service import load
from fanout.local.ports import HOST
from fanout.local.temporary_postgres import PASSWORD, temporary_postgres
from fanout.provision.databases import superuser
from fanout.repository import REPOSITORY
from tests.support.conformance import served
from tests.support.order_bodies import ORDER
from tests.support.principals import CUSTOMER

HALF_HEAD = b"POST /orders HTTP/1.1\r\nHost: here\r\nX-Slow: "
HALF_BODY = (
    b"POST /orders HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\nContent-Length: 300\r\n\r\n{"
)
IDLE = b"GET /nowhere HTTP/1.1\r\nHost: here\r\n\r\n"
OPENED_PER_SECOND = 200
KINDS = (HALF_HEAD, HALF_BODY, IDLE)


async def main(sockets: int, seconds: float, rate: float) -> None:
    with temporary_postgres() as ports, tempfile.TemporaryDirectory() as folder:
        database = await prepared(ports.postgres)
        async with served("orders", database, Path(folder)) as url:
            port = int(url.rpartition(":")[2])
            await good_clients(url, seconds / 2, rate)  # warms up
            quiet = await good_clients(url, seconds, rate)
            print(f"quiet:        {described(quiet)}", flush=True)
            slow = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.benchmarks.slow_sockets", "--slow", str(port)),
                *("--sockets", str(sockets)),
                cwd=REPOSITORY,
            )
            beside = await good_clients(url, max(seconds, 20), rate)
            print(f"beside {sockets:,}: {described(beside)}, {p99(beside) / p99(quiet):.2f} x the quiet p99")
            await slow.wait()
        await database.close()


async def prepared(port: int) -> Database:
    deadline = monotonic() + 30
    while True:
        try:
            async with superuser(port, PASSWORD) as db:
                await db.execute("CREATE DATABASE orders")
            break
        except OSError:
            assert monotonic() < deadline
            await asyncio.sleep(0.1)
    url = f"postgresql+asyncpg://postgres:{PASSWORD}@{HOST}:{port}/orders"
    await migrate(load("orders"), url)
    return Database(url)


async def good_clients(url: str, seconds: float, rate: float) -> list[float]:
    """Returns the milliseconds of each answer; half of the requests place an order, half read the products."""
    took: list[float] = []
    refused: list[int] = []

    async def ask(number: int) -> None:
        began = monotonic()
        answer = await (client.post("/orders", json=ORDER) if number % 2 else client.get("/products"))
        took.append((monotonic() - began) * 1000)
        if not answer.is_success:
            refused.append(answer.status_code)

    limits = httpx.Limits(max_connections=50, keepalive_expiry=3)
    async with httpx.AsyncClient(base_url=url, headers=CUSTOMER, limits=limits) as client:
        began = monotonic()
        async with asyncio.TaskGroup() as asked:
            for number in range(round(seconds * rate)):
                await asyncio.sleep(max(0.0, began + number / rate - monotonic()))
                asked.create_task(ask(number))
    if refused:
        print(f"not served: {len(refused)}, such as {refused[0]}")
    return took


async def slow_clients(port: int, sockets: int) -> None:
    """Prints by kind after which seconds the server closed the slow sockets; in a process of its own."""

    async def closed(number: int) -> float:
        await asyncio.sleep(number / OPENED_PER_SECOND)
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(KINDS[number % len(KINDS)])
        began = monotonic()
        await reader.read()
        writer.close()
        return monotonic() - began

    took = await asyncio.gather(*(closed(number) for number in range(sockets)))
    for number, kind in enumerate(("half a head", "half a body", "idle")):
        gone = took[number :: len(KINDS)]
        print(f"{kind}: {len(gone)} sockets, closed after {min(gone):.1f} to {max(gone):.1f} s")


def p99(took: Sequence[float]) -> float:
    return quantiles(took, n=100)[98]


def described(took: Sequence[float]) -> str:
    return f"{len(took)} answers, p50 {quantiles(took, n=2)[0]:.1f} ms, p99 {p99(took):.1f} ms"


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m tests.benchmarks.slow_sockets", description=__doc__)
    parser.add_argument("--sockets", type=int, default=1002)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rate", type=float, default=60)
    parser.add_argument("--slow", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if given.slow:
        asyncio.run(slow_clients(given.slow, given.sockets))
    else:
        asyncio.run(main(given.sockets, given.seconds, given.rate))
