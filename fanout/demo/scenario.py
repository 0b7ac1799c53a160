"""Plays a thousand customers, and a fraud worker that is killed while they order."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from fanout import processes
from fanout.addresses import Addresses
from fanout.demo.outage import now
from fanout.demo.outcomes import progress
from fanout.errors import FanoutError
from fanout.ledger.checkfile import discover
from fanout.ledger.reading import stated
from fanout.load.customers import place_orders
from fanout.load.mix import purchases
from fanout.load.report import LoadReport, Placement

Tell = Callable[[str], None]

VICTIM = "fraud-worker"
SEED = 1
LOOK_EVERY = 1.0
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Played:
    load: LoadReport
    killed_at: datetime


async def play(addresses: Addresses, orders: int, rate: float, tell: Tell) -> Played:
    """Returns when every order is answered and every invoice paid."""
    placed: list[str] = []
    middle = asyncio.Event()

    def watch(placement: Placement) -> None:
        placed.append(placement.order_id or "")
        if len(placed) >= orders // 2:
            middle.set()

    watching = asyncio.create_task(_watch(addresses, placed, tell))
    killing = asyncio.create_task(_kill(addresses, middle))
    try:
        load = await place_orders(
            addresses.apis,
            list(islice(purchases(SEED), orders)),
            rate,
            patient=True,
            patience=PATIENCE,
            watch=watch,
        )
        return Played(load, await killing)
    finally:
        for task in (watching, killing):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def _kill(addresses: Addresses, middle: asyncio.Event) -> datetime:
    await middle.wait()
    moment = await now(addresses.databases)
    await asyncio.to_thread(processes.kill, VICTIM)
    return moment


async def _watch(addresses: Addresses, placed: list[str], tell: Tell) -> None:
    queries = discover()
    while True:
        with suppress(FanoutError):
            tell(progress(placed, await stated(addresses.databases, queries)))
        await asyncio.sleep(LOOK_EVERY)
