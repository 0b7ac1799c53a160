"""`python -m tests.benchmarks.outages`: a dependency is away for a minute under load; what is parked, and how soon
everything has arrived after its return. On the running stack (`fanout up`).
"""

import argparse
import asyncio
from itertools import islice
from time import perf_counter

from sqlalchemy import text

from fanout.commands import processes
from fanout.databases import snapshot
from fanout.load import place_orders, purchases
from fanout.running import Addresses, running
from fanout.verify.report import settle

PARKED = text("SELECT count(*) FROM parked")


async def parked(addresses: Addresses) -> int:
    found = 0
    for service, url in addresses.databases.items():
        async with snapshot(service, url) as db:
            found += (await db.execute(PARKED)).scalar_one()
    return found


async def outage(addresses: Addresses, dependency: str, seconds: float, rate: float) -> str:
    before = await parked(addresses)
    wanted = [
        purchase for purchase in islice(purchases(1), int(seconds * rate * 2)) if purchase.kind != "scarce"
    ]
    load = asyncio.create_task(
        place_orders(addresses, wanted[: int(seconds * rate)], rate, patient=True, patience=seconds + 60)
    )
    await asyncio.to_thread(processes.stop, [dependency])
    await asyncio.sleep(seconds)
    began = perf_counter()
    await asyncio.to_thread(processes.start, [dependency])
    ready = perf_counter()
    report = await load
    ledger = await settle(addresses.databases, 300)
    return (
        f"{dependency} away for {seconds:.0f} s under {rate:g} orders/s: parked {await parked(addresses) - before}, "
        f"orders taken {report.outcomes['ok']} of {len(report.placements)}, ready after {ready - began:.1f} s, "
        f"drained {perf_counter() - ready:.1f} s later; {ledger.conclusion}"
    )


async def main(seconds: float, rate: float) -> None:
    for dependency in ("kafka", "registry", "postgres"):
        print(await outage(running(), dependency, seconds, rate), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m tests.benchmarks.outages", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=float, default=10)
    given = parser.parse_args()
    asyncio.run(main(given.seconds, given.rate))
