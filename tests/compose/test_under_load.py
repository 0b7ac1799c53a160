"""A thousand orders while each container dies once: every POST is answered, and the ledger holds.

FANOUT_COMPOSE_RATE says how many a second are placed.
"""

import asyncio
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import uuid4

import httpx

from fanout.load import Purchase, order_body, purchases
from tests.support.containers import Containers
from tests.support.system import System, until

ORDERS = 1_000
RATE = float(os.environ.get("FANOUT_COMPOSE_RATE", "50"))
PATIENCE_SECONDS = 120
AT_ONCE = 100
NEEDED_TO_ANSWER = ("orders-api", "postgres")
"""While one of these is down a POST cannot be answered 201: it is asked again, with the same key."""


@dataclass
class Log:
    """When POSTs were answered with something else than 201, and when they could not be."""

    placed: int = 0
    bad: list[tuple[float, float, str]] = field(default_factory=list)
    outages: list[tuple[float, float]] = field(default_factory=list)

    def unexplained(self) -> list[str]:
        return [
            f"after {answered - asked:.1f} s: {why}"
            for asked, answered, why in self.bad
            if not any(asked < end and answered > start for start, end in self.outages)
        ]


async def test_a_thousand_orders_while_each_container_dies_once(
    system: System, containers: Containers
) -> None:
    before, log = containers.restarts(), Log()
    began = time.monotonic()
    await asyncio.gather(place_all(system, log), kill_each(system, containers, before, log))
    print(
        f"{log.placed} orders in {time.monotonic() - began:.0f} s at {RATE:.0f}/s, {len(log.bad)} asked again"
    )
    assert log.placed == ORDERS
    assert log.unexplained() == []
    report = await system.settled(240)
    assert "lost 0, applied twice 0" in report
    after = containers.restarts()
    assert [name for name in before if after[name] != before[name] + 1] == []


async def place_all(system: System, log: Log) -> None:
    room, start = asyncio.Semaphore(AT_ONCE), time.monotonic()
    url = f"{system.stack.addresses.apis['orders']}/orders"
    wanted = (purchase for purchase in purchases(7) if purchase.kind != "scarce")

    async def one(number: int, purchase: Purchase) -> None:
        await asyncio.sleep(start + number / RATE - time.monotonic())
        async with room:
            customer = system.as_customer(purchase.customer_id)
            await place(system.http, url, order_body(purchase), customer, log)

    await asyncio.gather(*(one(number, next(wanted)) for number in range(ORDERS)))


async def place(
    http: httpx.AsyncClient, url: str, body: dict[str, object], customer: dict[str, str], log: Log
) -> None:
    headers, deadline = customer | {"Idempotency-Key": str(uuid4())}, time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        asked = time.monotonic()
        try:
            answer = await http.post(url, json=body, headers=headers)
            if answer.status_code == 201:
                log.placed += 1
                return
            problem = f"{answer.status_code}: {answer.text[:100]}"
        except httpx.TransportError as error:
            problem = repr(error)
        log.bad.append((asked, time.monotonic(), problem))
        await asyncio.sleep(0.5)


async def kill_each(system: System, containers: Containers, before: Iterable[str], log: Log) -> None:
    """Spreads the crashes over the placing of the orders, without waiting until a container is back."""
    victims = sorted(before)
    dying = []
    for number, victim in enumerate(victims):

        async def enough_placed(share: float = number / len(victims)) -> bool:
            return log.placed >= ORDERS * share

        await until(enough_placed, PATIENCE_SECONDS)
        dying.append(asyncio.create_task(kill(system, containers, victim, log)))
    await asyncio.gather(*dying)


async def kill(system: System, containers: Containers, victim: str, log: Log) -> None:
    start = time.monotonic()
    await asyncio.to_thread(containers.crash, victim)
    if victim in NEEDED_TO_ANSWER:
        await record_outage(system, start, log)


async def record_outage(system: System, start: float, log: Log) -> None:
    """Until the API says that it is ready, which it is not without its database."""
    health = f"{system.stack.addresses.apis['orders']}/health/ready"
    while True:
        await asyncio.sleep(1)
        try:
            if (await system.http.get(health)).status_code == 200:
                break
        except httpx.TransportError:
            continue
    log.outages.append((start, time.monotonic()))
