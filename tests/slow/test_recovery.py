"""Kafka's data deleted, and databases restored from an older backup, while orders go on: what comes back, and how."""

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.backups import back_up, restore
from tests.support.stack import Stack, free_base
from tests.support.system import System, system_of, until

ORDERS, RATE = 400, 20.0
HOLDS = "holds: lost 0, applied twice 0, in flight 0, parked 0"


@pytest.fixture(scope="module")
def own_stack() -> Iterator[Stack]:
    """A stack whose data may be deleted."""
    home = Path(tempfile.mkdtemp(prefix="fanout-test-"))
    stack = Stack(home, os.environ | {"FANOUT_HOME": str(home), "FANOUT_PORT_BASE": str(free_base())})
    try:
        up(stack)
        yield stack
    finally:
        stack.fanout("down", "--wipe")
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
async def own(own_stack: Stack) -> AsyncIterator[System]:
    async with system_of(own_stack) as system:
        yield system


def up(stack: Stack) -> None:
    stack.must("up", "--owner-pid", str(os.getpid()))


def findings(stack: Stack) -> dict[str, dict[str, Any]]:
    """Returns what `fanout doctor` finds wrong, by check."""
    said = json.loads(stack.fanout("doctor", "--json").stdout)
    return {each["check"]: each for each in said["findings"] if each["state"] == "wrong"}


async def holds(system: System) -> None:
    verdict = await asyncio.to_thread(system.stack.fanout, "verify", "--wait", "90s")
    assert verdict.stdout.splitlines()[-1] == HOLDS, verdict.stdout


@pytest.mark.timeout(300)
async def test_after_kafka_has_lost_its_data_everything_comes_back_with_the_command_that_doctor_names(
    own: System,
) -> None:
    await own.fanout("stop", "fraud-worker", "notifications-worker")
    assert (await own.load(50, 50.0)).complete
    await own.fanout("down")
    shutil.rmtree(own.stack.home / "kafka")
    await asyncio.to_thread(up, own.stack)
    lost = json.loads((await asyncio.to_thread(own.stack.fanout, "verify", "--json")).stdout)["lost"]
    assert lost >= 50 * 2, "no order reached fraud and notifications"
    finding = (await asyncio.to_thread(findings, own.stack))["losses"]
    assert finding["remedy"] == "fanout resend --lost"
    refusal = await asyncio.to_thread(own.stack.fanout, "replay", "analytics")
    assert refusal.returncode == 2 and "Kafka no longer has" in refusal.stderr, refusal.stderr
    await own.fanout("resend", "--lost", "--yes")
    await holds(own)
    assert "losses" not in await asyncio.to_thread(findings, own.stack)


@pytest.mark.timeout(300)
async def test_analytics_and_notifications_restored_under_load_are_whole_again_by_themselves(
    own: System, tmp_path: Path
) -> None:
    load = asyncio.create_task(own.load(ORDERS, RATE, seed=2))
    backups = {}
    for service in ("analytics", "notifications"):
        backups[service] = await asyncio.to_thread(back_up, own.stack, service, tmp_path / f"{service}.dump")
    before = await applied(own, "analytics")
    while await applied(own, "analytics") < before + ORDERS:
        await asyncio.sleep(0.2)
    for service, file in backups.items():
        await asyncio.to_thread(restore, own.stack, service, file)
    assert not load.done(), "orders went on meanwhile"
    assert (await load).complete
    await holds(own)
    await until(partial(everything_is_mailed, own), 60)
    mailbox = json.loads(await own.fanout("mailbox", "--json"))
    [[written]] = await own.query("notifications", "SELECT count(*) FROM messages WHERE sent_at IS NOT NULL")
    assert mailbox["repeated"] > 0, "some were mailed before the restore, and again after it"
    assert mailbox["count"] - mailbox["repeated"] == written, "a repeat has the Message-ID that it had"


@pytest.mark.timeout(300)
async def test_payments_restored_under_load_is_named_and_whole_again_by_the_procedure(
    own: System, tmp_path: Path
) -> None:
    assert (await own.load(30, RATE)).complete
    load = asyncio.create_task(own.load(ORDERS, RATE, seed=3))
    file = await asyncio.to_thread(back_up, own.stack, "payments", tmp_path / "payments.dump")
    before = await applied(own, "payments")
    while await applied(own, "payments") < before + ORDERS // 2:
        await asyncio.sleep(0.2)
    await own.fanout("stop", "payments-worker", "payments-api")
    await asyncio.to_thread(restore, own.stack, "payments", file)
    finding = (await asyncio.to_thread(findings, own.stack))["outboxes and Kafka"]
    assert "fanout recover payments" in finding["remedy"]
    listed = await asyncio.to_thread(own.stack.fanout, "recover", "payments", "--dry-run", "--json")
    lacking = json.loads(listed.stdout)["lacking"]
    assert listed.returncode == 1 and len(lacking) >= 100 and all(each["order_id"] for each in lacking)
    taken = json.loads(await own.fanout("recover", "payments", "--yes", "--json"))
    assert taken["taken_over"] == len(lacking)
    await own.fanout("start", "payments-worker", "payments-api")
    await load
    await holds(own)


async def everything_is_mailed(system: System) -> bool:
    open_messages = "SELECT count(*) FROM messages WHERE sent_at IS NULL AND refused_at IS NULL"
    [[number]] = await system.query("notifications", open_messages)
    return bool(number == 0)


async def applied(system: System, service: str) -> int:
    [[number]] = await system.query(service, "SELECT coalesce(sum(applied), 0) FROM consumer_offsets")
    return int(number)
