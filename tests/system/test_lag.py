"""Compares the lag in seconds that the exporter reports with the topics, also with workers stopped, and its CPU."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import asyncpg
import httpx
import psutil
import pytest

from fanout.lag.exporter import FRESH_SECONDS
from fanout.local.ports import free_port
from tests.support.lag_truth import Place, Truth, reported, truth
from tests.support.slow_fraud import slow_fraud
from tests.support.stack import Stack
from tests.support.system import WORKERS, System, until

ALLOWED_SECONDS = 1.0
ALLOWED_CPU = 0.03
"""Of one core. A quiet machine measures 0.0075; a new client for each answer would be more than this on any."""
SCRAPE_SECONDS = 5.0
ALL_BUT_ORDERS = [f"{name}-worker" for name in WORKERS if name != "orders"]
EVERY_WORKER = [f"{name}-worker" for name in WORKERS]


@contextmanager
def running_exporter(stack: Stack) -> Iterator[tuple[str, int]]:
    """Yields its address and pid."""
    port = free_port()
    command = [sys.executable, "-m", "fanout", "exporter", "--port", str(port)]
    process = subprocess.Popen(
        command, env=stack.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) in (0, 143, -signal.SIGTERM)


@pytest.fixture
async def exporter(stack: Stack, system: System) -> AsyncIterator[tuple[str, int]]:
    with running_exporter(stack) as (url, pid):
        await until(lambda: answers(system, url))
        yield url, pid


async def answers(system: System, url: str) -> bool:
    try:
        return bool((await system.http.get(f"{url}/health/ready")).is_success)
    except httpx.TransportError:
        return False


def differences(
    found: dict[Place, float],
    before: dict[Place, Truth],
    after: dict[Place, Truth],
    begun: float,
    ended: float,
) -> list[str]:
    """Names each partition whose seconds behind were not true at any time between `begun` and `ended`."""
    wrong = []
    for place in before:
        least = after[place].wanted
        low = begun - least if least is not None else 0.0
        most = before[place].first
        high = ended - most if most is not None else 0.0
        if not low - ALLOWED_SECONDS <= found[place] <= high + ALLOWED_SECONDS:
            wrong.append(f"{place}: {found[place]:.2f} s is not between {low:.2f} and {high:.2f}")
    return wrong


async def compared(system: System, url: str) -> tuple[list[str], dict[Place, float]]:
    before, begun = await truth(system), time.time()
    found = await reported(system.http, url)
    ended, after = time.time(), await truth(system)
    return differences(found, before, after, begun, ended), found


async def test_seconds_behind_are_those_of_the_topics_for_every_group_and_partition(
    stack: Stack, system: System, exporter: tuple[str, int]
) -> None:
    url, _ = exporter
    stack.must("stop", *ALL_BUT_ORDERS)
    try:
        await system.load(30, rate=30)
        stack.must("kill", "orders-worker")
        stack.must("stop", "orders-worker")
        stack.must("start", "payments-worker")
        await until(lambda: is_waiting(system, url, {("orders", "payments")}))
        stack.must("stop", "payments-worker")
        wrong, found = await compared(system, url)
        assert wrong == []
        behind = {(group, topic) for (group, topic, _), seconds in found.items() if seconds > ALLOWED_SECONDS}
        assert behind > {("orders", "payments"), ("analytics", "payments"), ("fraud", "orders")}
    finally:
        stack.must("start", *EVERY_WORKER)
    await system.settled()
    wrong, found = await compared(system, url)
    assert wrong == [] and max(found.values()) < ALLOWED_SECONDS


async def test_seconds_behind_are_true_while_a_slow_consumer_falls_behind_and_catches_up(
    system: System, exporter: tuple[str, int]
) -> None:
    url, _ = exporter
    async with slow_fraud(system.stack.addresses.databases["fraud"]):
        loading = asyncio.create_task(system.load(80, rate=10))
        await until(lambda: has_verdict(system, url, "fraud", "falling_behind"))
        wrong, found = await compared(system, url)
        assert wrong == []
        assert max(seconds for (group, _, _), seconds in found.items() if group == "fraud") > ALLOWED_SECONDS
        await loading
    await until(lambda: has_verdict(system, url, "fraud", "keeping_up"), 60)
    await system.settled()


async def test_a_redriven_record_waits_since_it_was_sent_back(
    stack: Stack, system: System, exporter: tuple[str, int]
) -> None:
    url, _ = exporter
    whole = stack.must("poison")
    [parked] = await until(lambda: parked_letters(system))
    stack.must("stop", "orders-worker")
    try:
        stack.must("dlq", "redrive", str(parked["dead_letter_id"]), "--correct", whole, "--why", "a test")
        await until(lambda: is_waiting(system, url, {("orders", "inventory.orders.retry")}))
        wrong, _ = await compared(system, url)
        assert wrong == []
    finally:
        stack.must("start", "orders-worker")
    await system.settled()


async def test_an_exporter_that_is_asked_every_five_seconds_takes_little_of_a_core(
    system: System, exporter: tuple[str, int]
) -> None:
    url, pid = exporter
    process = psutil.Process(pid)
    await system.http.get(f"{url}/metrics")
    before = process.cpu_times()
    for _ in range(10):
        await asyncio.sleep(FRESH_SECONDS + 0.05)  # what is asked again before is not measured again
        await system.http.get(f"{url}/metrics")
    after = process.cpu_times()
    spent = after.user + after.system - before.user - before.system
    share = spent / 10 / SCRAPE_SECONDS
    print(f"an exporter that is asked every {SCRAPE_SECONDS:g} s takes {share:.2%} of a core")
    assert share <= ALLOWED_CPU
    assert process.memory_info().rss < 128 * 2**20


async def is_waiting(system: System, url: str, wanted: set[tuple[str, str]]) -> bool:
    found = await reported(system.http, url, "kafka_consumergroup_group_lag")
    return wanted <= {(group, topic) for (group, topic, _), messages in found.items() if messages}


async def has_verdict(system: System, url: str, group: str, verdict: str) -> bool:
    text = (await system.http.get(f"{url}/metrics")).text
    return f'fanout_lag_verdict{{group="{group}",verdict="{verdict}"}} 1.0' in text


async def parked_letters(system: System) -> list[asyncpg.Record]:
    return await system.query(
        "dead_letters", "SELECT dead_letter_id FROM dead_letters WHERE status = 'parked'"
    )
