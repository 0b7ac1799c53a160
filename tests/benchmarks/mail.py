"""`python -m tests.benchmarks.mail`: how soon POST /orders answers while the mail server is well, slow, or stopped.

On the running stack (`fanout up`), interleaved, medians of the rounds. Slow is 750 ms for each mail.
"""

import argparse
import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from itertools import islice
from statistics import median

from sqlalchemy import text

from fanout.commands import processes
from fanout.commands.mailbox import set_delay
from fanout.databases import snapshot
from fanout.load import place_orders, purchases
from fanout.local.stack_directory import current
from fanout.local.topology import MAILBOX as NAME
from fanout.running import Addresses, running
from fanout.verify.report import settle

SLOW_SECONDS = 0.75
UNSENT = text("SELECT count(*) FROM messages WHERE sent_at IS NULL AND refused_at IS NULL")


@asynccontextmanager
async def slow() -> AsyncIterator[None]:
    set_delay(current(), SLOW_SECONDS)
    try:
        yield
    finally:
        set_delay(current(), 0)


@asynccontextmanager
async def stopped() -> AsyncIterator[None]:
    await asyncio.to_thread(processes.stop, [NAME])
    try:
        yield
    finally:
        await asyncio.to_thread(processes.start, [NAME])


STATES: dict[str, Callable[[], AbstractAsyncContextManager[None]]] = {
    "well": nullcontext,
    "slow": slow,
    "stopped": stopped,
}


async def answered(addresses: Addresses, orders: int, rate: float) -> tuple[float, float]:
    """Milliseconds: p50 and p99."""
    cards = (purchase for purchase in purchases(seed=1) if purchase.kind == "card")
    report = await place_orders(addresses, list(islice(cards, orders)), rate)
    assert report.complete, report.lines()
    return report.latency(0.5) * 1000, report.latency(0.99) * 1000


async def all_mailed(addresses: Addresses) -> None:
    async with snapshot("notifications", addresses.databases["notifications"]) as db:
        await db.execution_options(isolation_level="READ COMMITTED")
        while (await db.execute(UNSENT)).scalar_one():
            await asyncio.sleep(0.2)


async def main(orders: int, rate: float, rounds: int) -> None:
    addresses = running()
    found: dict[str, list[tuple[float, float]]] = {state: [] for state in STATES}
    for number in range(1, rounds + 1):
        for state, made in STATES.items():
            async with made():
                found[state].append(await answered(addresses, orders, rate))
            await settle(addresses.databases, 300)
            await all_mailed(addresses)
        now = (f"{state} {of[-1][0]:.1f} / {of[-1][1]:.1f} ms" for state, of in found.items())
        print(f"round {number}, p50 / p99: {', '.join(now)}", flush=True)
    p50, p99 = ({state: median(each[n] for each in of) for state, of in found.items()} for n in (0, 1))
    for state in STATES:
        print(
            f"mail {state}: p50 {p50[state]:.1f} ms ({p50[state] / p50['well']:.2f} of well), "
            f"p99 {p99[state]:.1f} ms ({p99[state] / p99['well']:.2f} of well)"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m tests.benchmarks.mail", description=__doc__)
    parser.add_argument("--orders", type=int, default=600)
    parser.add_argument("--rate", type=float, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    asyncio.run(main(given.orders, given.rate, given.rounds))
