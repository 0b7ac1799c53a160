"""`python -m tests.benchmarks`: our consumer against the fastest and the simplest way to have the same effects.

The effects are those of the notifications service for OrderPlaced: an inbox row and a message per event, on
the running stack's Kafka, registry and Postgres (`fanout up`). Three ways, interleaved, medians of the rounds:

  raw SQL  batches of 500 from memory, `INSERT … SELECT unnest(…)` with asyncpg: no Kafka, no decoding
  ours     the chassis: fetch, decode, claim, react, record progress, commit, move the offsets
  plain    aiokafka, one message, one transaction, one offset commit at a time
"""

import argparse
import asyncio
from statistics import median

from chassis.telemetry.logs import configure_logging
from tests.benchmarks.plain import plain_consumer
from tests.benchmarks.raw import raw_sql
from tests.benchmarks.workbench import Workbench, prepared


async def main(events: int, plain_events: int, rounds: int) -> None:
    rates: dict[str, list[float]] = {"raw SQL": [], "ours": [], "plain": []}
    async with prepared(events) as bench:
        for number in range(1, rounds + 1):
            rates["raw SQL"].append(await raw_sql(bench))
            rates["ours"].append(await ours(bench))
            rates["plain"].append(await plain_consumer(bench, plain_events))
            print(
                f"round {number}: " + ", ".join(f"{way} {of[-1]:,.0f}/s" for way, of in rates.items()),
                flush=True,
            )
    middle = {way: median(of) for way, of in rates.items()}
    print("\nmedian events/s: " + ", ".join(f"{way} {rate:,.0f}" for way, rate in middle.items()))
    of_raw, of_plain = middle["ours"] / middle["raw SQL"], middle["ours"] / middle["plain"]
    print(f"ours is {of_raw:.2f} of raw SQL and {of_plain:.0f} x plain")


async def ours(bench: Workbench) -> float:
    await bench.forget_effects()
    return await bench.consume_with_the_chassis()


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--plain-events", type=int, default=1_500)
    parser.add_argument("--rounds", type=int, default=5)
    configure_logging("benchmark", "benchmark", "WARNING")
    given = parser.parse_args()
    asyncio.run(main(given.events, given.plain_events, given.rounds))
