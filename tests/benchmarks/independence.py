"""`python -m tests.benchmarks.independence`: orders shipped a second while fraud is well, dead, or slow.

On the running stack (`fanout up`), interleaved, medians of the rounds. Slow is a second for each order.
"""

import argparse
import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from itertools import islice
from statistics import median
from time import perf_counter

from sqlalchemy import text

from fanout.commands import processes
from fanout.databases import snapshot
from fanout.load import place_orders, purchases
from fanout.running import Addresses, running
from fanout.verify.report import settle
from tests.support.slow_fraud import slow_fraud

SHIPPED = text("SELECT count(*) FROM shipments WHERE shipped_at IS NOT NULL AND order_id = ANY(:ids)")


@asynccontextmanager
async def dead() -> AsyncIterator[None]:
    await asyncio.to_thread(processes.stop, ["fraud-worker"])
    try:
        yield
    finally:
        await asyncio.to_thread(processes.start, ["fraud-worker"])


async def shipped_per_second(addresses: Addresses, orders: int, rate: float) -> float:
    """From the first order's turn until the last one is shipped."""
    cards = (purchase for purchase in purchases(seed=1) if purchase.kind == "card")
    began = perf_counter()
    report = await place_orders(addresses, list(islice(cards, orders)), rate)
    assert report.complete, report.lines()
    async with snapshot("fulfillment", addresses.databases["fulfillment"]) as db:
        await db.execution_options(isolation_level="READ COMMITTED")
        while (await db.execute(SHIPPED, {"ids": report.order_ids})).scalar_one() < orders:
            await asyncio.sleep(0.02)
    return orders / (perf_counter() - began)


async def main(orders: int, rate: float, rounds: int) -> None:
    addresses = running()
    states: dict[str, Callable[[], AbstractAsyncContextManager[None]]] = {
        "well": nullcontext,
        "dead": dead,
        "slow": lambda: slow_fraud(addresses.databases["fraud"]),
    }
    rates: dict[str, list[float]] = {state: [] for state in states}
    for number in range(1, rounds + 1):
        for state, made in states.items():
            async with made():
                rates[state].append(await shipped_per_second(addresses, orders, rate))
            await settle(addresses.databases, 300)
        print(
            f"round {number}: " + ", ".join(f"{state} {of[-1]:.1f}/s" for state, of in rates.items()),
            flush=True,
        )
    well = median(rates["well"])
    print("\n" + ", ".join(f"fraud {state}: {median(of) / well:.2f} of well" for state, of in rates.items()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m tests.benchmarks.independence", description=__doc__)
    parser.add_argument("--orders", type=int, default=150)
    parser.add_argument("--rate", type=float, default=15)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    asyncio.run(main(given.orders, given.rate, given.rounds))
