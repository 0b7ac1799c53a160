"""Locks, a worker killed in an outage, a frozen stack: nothing is parked, and all is settled unattended."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.system import WORKERS, System, until

RATE = 5.0
SETTLED_SECONDS = 30
FROZEN_SECONDS = 75.0


@asynccontextmanager
async def nothing_is_parked(system: System) -> AsyncIterator[None]:
    """And everything is settled soon after the block, without any command."""
    before = await parked(system)
    yield
    began = time.monotonic()
    await system.settled(90)
    print(f"settled after {time.monotonic() - began:.1f} s")
    assert time.monotonic() - began < SETTLED_SECONDS
    assert await parked(system) == before


async def parked(system: System) -> int:
    return sum([len(await system.query(service, "SELECT 1 FROM parked")) for service in WORKERS])


async def load_for(system: System, seconds: float) -> None:
    report = await system.load(round(seconds * RATE), RATE, patience=seconds + 30)
    assert report.complete, report.lines()


async def test_a_table_that_is_locked_for_a_minute(system: System) -> None:
    async with nothing_is_parked(system), system.connect("inventory") as db, db.transaction():
        await db.execute("SET LOCAL idle_in_transaction_session_timeout = '120s'")
        await db.execute("LOCK TABLE stock IN SHARE MODE")
        await load_for(system, 60)


async def test_rows_that_are_locked_for_forty_seconds(system: System) -> None:
    async with nothing_is_parked(system):
        orders = [await system.order() for _ in range(3)]
        async with system.connect("orders") as db, db.transaction():
            await db.execute("SELECT 1 FROM orders WHERE order_id::text = ANY($1) FOR UPDATE", orders)
            await load_for(system, 40)


@pytest.mark.parametrize("service", ["orders", "fulfillment"])
async def test_a_database_that_is_read_only_for_a_minute(system: System, service: str) -> None:
    """As after a failover to a standby (SQLSTATE 25006)."""
    async with nothing_is_parked(system):
        await system.fanout("chaos", "read-only", service, "--for", "60s")


async def test_a_worker_that_is_killed_again_and_again_while_it_waits_for_the_registry(
    system: System,
) -> None:
    async with nothing_is_parked(system):
        await system.fanout("stop", "registry", "fraud-worker")
        orders = [await system.order() for _ in range(6)]
        await system.fanout("start", "fraud-worker")
        try:
            for _ in range(4):
                await until(lambda: holds(system))
                await system.fanout("kill", "fraud-worker")
        finally:
            await system.fanout("start", "registry")
        for order_id in orders:
            await system.until_status(order_id, "shipped", seconds=60)


async def holds(system: System) -> bool:
    """Whether the worker that runs now waits for something."""
    log = await system.fanout("logs", "fraud-worker", "-n", "50")
    status = json.loads(await system.fanout("status", "--json"))
    states = {process["process"]: process["state"] for process in status["processes"]}
    return (
        states["fraud-worker"] == "RUNNING"
        and "waiting_for_dependency" in log.rpartition("worker_started")[2]
    )


@pytest.mark.timeout(400)
async def test_a_stack_that_is_frozen_for_longer_than_a_stuck_process_may_take(system: System) -> None:
    restarts = await restarted(system)
    async with nothing_is_parked(system):
        load = asyncio.create_task(system.load(50, 20))
        await system.fanout("chaos", "freeze-all", "--for", f"{FROZEN_SECONDS}s")
        await asyncio.wait({load}, timeout=60)
    assert await restarted(system) == restarts


async def restarted(system: System) -> dict[str, int]:
    status = json.loads(await system.fanout("status", "--json"))
    return {process["process"]: process["restarts"] for process in status["processes"]}
