"""Plays a thousand customers, and a fraud worker that is killed while they order."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice

from uuid_utils.compat import uuid7

from fanout.commands import processes
from fanout.demo.outage import now
from fanout.demo.outcomes import SHOWN, progress
from fanout.errors import FanoutError
from fanout.load.customers import place_orders
from fanout.load.mix import purchases
from fanout.load.report import LoadReport, Placement
from fanout.running import Addresses
from fanout.verify.checkfile import Query, discover
from fanout.verify.snapshot import stated

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
    """Reads what became of the orders of this run only: the demo must not slow down what it shows."""
    shown = [since(query, str(uuid7())) for query in discover() if query.name in SHOWN]
    databases = {service: addresses.databases[service] for service in {query.service for query in shown}}
    while True:
        with suppress(FanoutError):
            tell(progress(placed, await stated(databases, shown)))
        await asyncio.sleep(LOOK_EVERY)


def since(query: Query, order_id: str) -> Query:
    """Returns the query for orders from this one on; ids of orders grow with time (UUIDv7)."""
    return replace(
        query, sql=f"SELECT * FROM ({query.sql}) AS fact (order_id) WHERE order_id >= '{order_id}'"
    )
