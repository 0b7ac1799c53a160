"""`python -m tests.benchmarks.replay`: 20,000 events into analytics as they come, and once more by `fanout replay`.

On a stack of its own, of which only analytics reads: the events are of orders that no other service has. Prints
both rates, and whether the rebuilt tables equal those that grew event by event.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
from confluent_kafka import Producer
from sqlalchemy.engine import make_url
from uuid_utils.compat import uuid7

from chassis.events.avro import encode, frame
from chassis.events.registry import Registry
from schemas import Event
from tests.support import sample_events
from tests.support.fingerprint import fingerprint
from tests.support.stack import Stack, free_base

PRODUCER = {"linger.ms": 20, "queue.buffering.max.messages": 1_000_000, "partitioner": "murmur2_random"}
COUNT = "SELECT coalesce(sum(applied), 0) FROM consumer_offsets"


@contextmanager
def stack() -> Iterator[Stack]:
    home = Path(tempfile.mkdtemp(prefix="fanout-benchmark-"))
    made = Stack(home, os.environ | {"FANOUT_HOME": str(home), "FANOUT_PORT_BASE": str(free_base())})
    try:
        made.must("up", "--owner-pid", str(os.getpid()))
        made.must("stop", *(f"{name}-worker" for name in made.addresses.workers if name != "analytics"))
        yield made
    finally:
        made.fanout("down", "--wipe")
        shutil.rmtree(home, ignore_errors=True)


def events(count: int) -> list[Event]:
    """Of as many orders as four events each need; one order's in any order but within a topic."""
    mixed = random.Random(1)
    placed = [str(uuid7()) for _ in range(count // 4)]
    lives = [
        (
            mixed.random(),
            [
                sample_events.order_placed(order, {"mug": 1}, number),
                sample_events.payment_processed(order, "authorized", number + 1),
                sample_events.order_confirmed(order, number + 2),
                sample_events.order_shipped(order, number + 3),
            ],
        )
        for number, order in enumerate(placed)
    ]
    return [event for _, life in sorted(lives, key=lambda life: life[0]) for event in life]


async def send(made: Stack, wanted: list[Event]) -> None:
    registry = Registry(made.addresses.registry_url)
    producer = Producer(PRODUCER | {"bootstrap.servers": made.addresses.kafka})
    for event in wanted:
        schema_id = await registry.schema_id(type(event), event.SCHEMA_VERSION)
        headers: list[tuple[str, str | bytes | None]] = [("ce_id", str(uuid7())), ("ce_type", event.NAME)]
        producer.produce(event.TOPIC, frame(schema_id, encode(event)), event.key, headers=headers)
    assert producer.flush(60) == 0
    await registry.aclose()


async def main(count: int, rounds: int) -> None:
    with stack() as made:
        url = make_url(made.addresses.databases["analytics"]).set(drivername="postgresql")
        connection = await asyncpg.connect(url.render_as_string(hide_password=False))
        wanted = events(count)
        made.must("stop", "analytics-worker")
        await send(made, wanted)
        made.must("start", "analytics-worker")
        began = time.perf_counter()
        while await connection.fetchval(COUNT) < len(wanted):
            await asyncio.sleep(0.05)
        print(
            f"first time: {len(wanted):,} events, {len(wanted) / (time.perf_counter() - began):,.0f} a second"
        )
        grown = await fingerprint(connection, "analytics")
        for number in range(1, rounds + 1):
            summary = json.loads(await asyncio.to_thread(made.must, "replay", "analytics", "--json"))
            equal = "equal" if await fingerprint(connection, "analytics") == grown else "DIFFERENT"
            print(
                f"replay {number}: {summary['applied']:,} events applied, {summary['seconds']:.1f} s in all, "
                f"{summary['per_second']:,.0f} a second once the worker was up; state {equal} ({grown[:12]})",
                flush=True,
            )
        await connection.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m tests.benchmarks.replay", description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    asyncio.run(main(given.events, given.rounds))
