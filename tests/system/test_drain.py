"""SIGTERM under load: a worker finishes what it holds, leaves its group, and nobody waits for it."""

import asyncio
import time

import pytest

from tests.system.conftest import System, until


@pytest.mark.parametrize("service", ["orders", "fraud"])
async def test_sigterm_under_load_drains_within_ten_seconds_and_leaves_the_group(
    system: System, service: str
) -> None:
    load = asyncio.create_task(system.load(120, 40))
    await until(lambda: system.query(service, "SELECT 1 FROM inbox LIMIT 1"))
    began = time.monotonic()
    await system.fanout("stop", f"{service}-worker")
    assert time.monotonic() - began < 10
    log = await system.fanout("logs", f"{service}-worker", "-n", "30")
    assert "worker_drained" in log
    await system.fanout("start", f"{service}-worker")
    began = time.monotonic()
    await until(lambda: system.query(service, FRESH))
    assert time.monotonic() - began < 5, "the group still waited for the old member"
    assert (await load).complete
    await system.settled()


FRESH = "SELECT 1 FROM inbox WHERE received_at > clock_timestamp() - interval '500 ms'"
