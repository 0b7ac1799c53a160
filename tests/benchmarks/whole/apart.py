"""Rows about who disturbs whom: consumers the producer, one consumer the others."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from statistics import median

from fanout.commands import processes
from fanout.local.stack_directory import current
from fanout.local.supervisor import Supervisor
from tests.benchmarks.independence import dead
from tests.benchmarks.whole.ground import Ground, first_id
from tests.benchmarks.whole.row import Figures, Row
from tests.support.slow_fraud import slow_fraud

INTERLEAVED = 3


def workers() -> list[str]:
    return [state.name for state in Supervisor(current()).states() if "-worker" in state.name]


@asynccontextmanager
async def workers_stopped() -> AsyncIterator[None]:
    names = workers()
    await asyncio.to_thread(processes.stop, names)
    try:
        yield
    finally:
        await asyncio.to_thread(processes.start, names)


async def running_or_stopped(ground: Ground) -> Figures:
    p99: dict[str, list[float]] = {"running": [], "stopped": []}
    states: dict[str, Callable[[], AbstractAsyncContextManager[None]]] = {
        "running": nullcontext,
        "stopped": workers_stopped,
    }
    for _ in range(INTERLEAVED):
        for state, made in states.items():
            first = first_id()
            async with made():
                ground.note(f"workers {state}")
                offered = await ground.post(60, ground.scaled(600))
            p99[state].append(offered.from_due[1])
            await ground.settled(first, offered.accepted)
            await ground.mailed()
    running, stopped = median(p99["running"]), median(p99["stopped"])
    return {"running_p99_ms": running, "stopped_p99_ms": stopped, "ratio": running / stopped}


async def fraud_in_trouble(ground: Ground) -> Figures:
    states: dict[str, Callable[[], AbstractAsyncContextManager[None]]] = {
        "well": nullcontext,
        "slow": lambda: slow_fraud(ground.addresses.databases["fraud"]),
        "dead": dead,
    }
    rates: dict[str, float] = {}
    for state, made in states.items():
        first = first_id()
        async with made():
            ground.note(f"fraud {state}")
            offered = await ground.post(300, ground.scaled(1_500))
            rates[state] = offered.accepted / (await ground.shipped(first, offered.accepted) - offered.began)
        await ground.settled(first, offered.accepted)
        await ground.mailed()
    return rates | {"slow_ratio": rates["slow"] / rates["well"], "dead_ratio": rates["dead"] / rates["well"]}


ROWS = [
    Row(
        "apart",
        "POST p99 at 60/s, workers running ÷ stopped",
        "≤ 2",
        "{ratio:.2f} ({running_p99_ms:.1f} ÷ {stopped_p99_ms:.1f} ms)",
        running_or_stopped,
    ),
    Row(
        "fraud",
        "a slow and a dead fraud worker at 300/s: settled (shipped) a second against well",
        "≥ 0.95",
        "slow {slow_ratio:.2f}, dead {dead_ratio:.2f} (well {well:.0f}/s)",
        fraud_in_trouble,
    ),
]
