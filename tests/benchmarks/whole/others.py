"""Rows made of what is there already: one consumer, the demo, and an outage of Postgres."""

import asyncio
import inspect
import time
from itertools import islice

from fanout.commands import processes
from fanout.commands.demo import command as demo
from fanout.load import PLENTIFUL, Purchase, place_orders
from fanout.scenario import play
from tests.benchmarks.__main__ import ours
from tests.benchmarks.plain import plain_consumer
from tests.benchmarks.raw import raw_sql
from tests.benchmarks.whole.ground import Ground, first_id
from tests.benchmarks.whole.row import Figures, Row
from tests.benchmarks.workbench import prepared

EVENTS, PLAIN_EVENTS = 20_000, 1_500
OUTAGE_SECONDS, OUTAGE_RATE = 60, 10
EVERY = 0.05


async def one_consumer(ground: Ground) -> Figures:
    async with prepared(ground.scaled(EVENTS)) as bench:
        raw = await raw_sql(bench)
        ground.note(f"raw SQL {raw:,.0f} events/s")
        chassis = await ours(bench)
        ground.note(f"the chassis {chassis:,.0f} events/s")
        plain = await plain_consumer(bench, ground.scaled(PLAIN_EVENTS))
    return {
        "raw": raw,
        "chassis": chassis,
        "plain": plain,
        "of_raw": chassis / raw,
        "times_plain": chassis / plain,
    }


async def demo_play(ground: Ground) -> Figures:
    """What `fanout demo` does while customers order, with its defaults: fraud is killed in the middle."""
    defaults = {name: given.default for name, given in inspect.signature(demo).parameters.items()}
    orders, rate = int(defaults["orders"]), float(defaults["rate"])
    load = (await play(ground.addresses, orders, rate, lambda progress: None, ground.note)).load
    for line in load.lines():
        ground.note(line)
    lost, doubled = await ground.ledger()
    return {
        "rate": rate,
        "accepted": load.outcomes["ok"],
        "orders": orders,
        "p50_ms": load.latency(0.5) * 1000,
        "p99_ms": load.latency(0.99) * 1000,
        "lost": lost,
        "doubled": doubled,
    }


async def outage(ground: Ground) -> Figures:
    """Customers are patient; the drain ends when every order has all its effects."""
    first, seconds = first_id(), OUTAGE_SECONDS * ground.scale
    cards = [Purchase("card", f"c{n % 500}", ((PLENTIFUL[n % 7], 1),), "tok_visa") for n in range(10_000)]
    wanted = list(islice(cards, round(seconds * OUTAGE_RATE)))
    load = asyncio.create_task(
        place_orders(ground.addresses, wanted, OUTAGE_RATE, patient=True, patience=seconds + 60)
    )
    await asyncio.to_thread(processes.stop, ["postgres"])
    ground.note(f"postgres is away for {seconds:.0f} s")
    await asyncio.sleep(seconds)
    began = time.time()
    await asyncio.to_thread(processes.start, ["postgres"])
    ready = time.time()
    report = await load
    placed = time.time()
    settled = await ground.settled(first, report.outcomes["ok"], EVERY)
    lost, doubled = await ground.ledger()
    return {
        "accepted": report.outcomes["ok"],
        "orders": len(wanted),
        "start": ready - began,
        "placed": placed - ready,
        "drained": settled - ready,
        "lost": lost,
        "doubled": doubled,
    }


ROWS = [
    Row(
        "consumer",
        "one consumer ÷ raw batched SQL, ÷ plain consumer",
        "≥ 0.45, ≥ 60 times",
        "{of_raw:.2f}, {times_plain:.0f} times ({chassis:,.0f}, {raw:,.0f} and {plain:,.0f} events/s)",
        one_consumer,
    ),
    Row(
        "demo",
        "make demo at its default rate: POST p50 / p99",
        "≤ 15 / ≤ 60 ms",
        "at {rate:g}/s: {p50_ms:.1f} / {p99_ms:.1f} ms, {accepted:.0f} of {orders:.0f}; "
        "lost {lost:.0f}, doubled {doubled:.0f}",
        demo_play,
    ),
    Row(
        "outage",
        "drain after a 60 s Postgres outage at 10/s",
        "≤ 5 s",
        "{drained:.1f} s after it was ready ({placed:.1f} s until the last order was taken, start {start:.1f} s), "
        "{accepted:.0f} of {orders:.0f} taken; lost {lost:.0f}, doubled {doubled:.0f}",
        outage,
    ),
]
