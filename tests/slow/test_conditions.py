"""Locks, a worker killed in an outage, a frozen stack: nothing is parked, and all is settled unattended."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import asyncpg
import psutil
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
    async with nothing_is_parked(system), system.connect(service) as db:
        try:
            await db.execute(f"ALTER DATABASE {service} SET default_transaction_read_only = on")
            await end_sessions(db, service)
            orders = [asyncio.create_task(load_for(system, 60)), asyncio.create_task(asyncio.sleep(60))]
            await orders[1]
        finally:
            await db.execute("SET default_transaction_read_only = off")
            await db.execute(f"ALTER DATABASE {service} RESET default_transaction_read_only")
            await end_sessions(db, service)
        await orders[0]


async def end_sessions(db: asyncpg.Connection, service: str) -> None:
    """Makes everybody connect again, since a setting of the database is that of new sessions."""
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()"
    await db.execute(others, service)


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
        await asyncio.sleep(1)
        frozen = await everything(system)
        send(signal.SIGSTOP, frozen)
        try:
            await asyncio.sleep(FROZEN_SECONDS)
        finally:
            send(signal.SIGCONT, frozen)
        await asyncio.wait({load}, timeout=60)
    assert await restarted(system) == restarts


def send(number: signal.Signals, processes: Sequence[psutil.Process]) -> None:
    """One that ends meanwhile, as Postgres' do, needs no signal."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


async def everything(system: System) -> list[psutil.Process]:
    """All processes of the stack and their children, but for the supervisor."""
    status = json.loads(await system.fanout("status", "--json"))
    own = [psutil.Process(process["pid"]) for process in status["processes"] if process["pid"]]
    return [each for process in own for each in (process, *process.children(recursive=True))]


async def restarted(system: System) -> dict[str, int]:
    status = json.loads(await system.fanout("status", "--json"))
    return {process["process"]: process["restarts"] for process in status["processes"]}
