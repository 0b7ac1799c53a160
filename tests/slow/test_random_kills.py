"""Whatever is killed, and whenever: nothing is lost, nothing is applied twice, and no innocent message is parked."""

import asyncio
import json
import time
from random import Random

import pytest

from tests.support.system import WORKERS, System

SECONDS = 180
RATE = 20.0
PAUSE_SECONDS = (1.0, 6.0)
PATIENCE_SECONDS = 120.0
"""For an invoice, whose order payments may hear of only after several of its kills."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_three_minutes_of_random_kills_of_everything(system: System, seed: int) -> None:
    before = await parked(system)
    load = asyncio.create_task(system.load(round(SECONDS * RATE), RATE, seed=seed, patience=PATIENCE_SECONDS))
    killed = await kill_at_random(system, Random(seed), time.monotonic() + SECONDS)
    report = await load
    assert report.complete, report.lines()
    print(f"seed {seed}: {len(killed)} kills: {killed}; {await system.settled(180)}")
    assert await parked(system) - before == set()


async def kill_at_random(system: System, random: Random, until: float) -> list[str]:
    """SIGKILLs one running process after the other; returns their names."""
    killed = []
    while time.monotonic() < until:
        await asyncio.sleep(random.uniform(*PAUSE_SECONDS))
        status = json.loads(await system.fanout("status", "--json"))
        running = [each["process"] for each in status["processes"] if each["state"] == "RUNNING"]
        victim = random.choice(sorted(set(running) - {"supervisord"}))
        done = await asyncio.to_thread(system.stack.fanout, "kill", victim)
        if done.returncode == 0:  # it may have ended by itself a moment ago
            killed.append(victim)
    return killed


async def parked(system: System) -> set[tuple[object, ...]]:
    """Returns every parked message: consumer, place and reason."""
    columns = "consumer, topic, partition, kafka_offset, error_type, error_message"
    found = [await system.query(service, f"SELECT {columns} FROM parked") for service in WORKERS]
    return {tuple(row) for rows in found for row in rows}
