"""A read model is rebuilt from its history and comes out the same; any other service ignores it and changes nothing."""

import asyncio
import json
import signal
import subprocess
import sys
from itertools import count
from typing import Any

from tests.support.fingerprint import fingerprint
from tests.support.system import System, until


async def state(system: System, service: str) -> str:
    async with system.connect(service) as connection:
        return await fingerprint(connection, service)


async def rows(system: System, service: str, table: str) -> int:
    return int((await system.query(service, f"SELECT count(*) FROM {table}"))[0][0])


async def replayed(system: System, *arguments: str) -> dict[str, Any]:
    return dict(json.loads(await system.fanout("replay", *arguments, "--json")))


async def test_a_rebuilt_read_model_equals_the_one_that_grew_event_by_event(system: System) -> None:
    assert (await system.load(150, 30, seed=11)).complete
    await system.settled()
    grown, receipts = await state(system, "analytics"), await rows(system, "analytics", "inbox")
    summary = await replayed(system, "analytics")
    assert await state(system, "analytics") == grown
    assert await rows(system, "analytics", "inbox") == receipts
    assert (summary["rebuilt"], summary["since"]) == (True, None)
    applied = await system.query("analytics", "SELECT 1 FROM inbox WHERE status = 'applied'")
    assert summary["applied"] == len(applied) > 300
    assert summary["seen"] == summary["applied"] + summary["parked"] + summary["ignored"]
    assert summary["events"] >= summary["seen"] and summary["per_second"] > 0
    await system.settled()


async def test_a_rebuild_under_load_with_two_workers_ends_where_the_others_are(system: System) -> None:
    await system.fanout("scale", "analytics", "2")
    try:
        rebuilding, seed = asyncio.create_task(replayed(system, "analytics")), count(1_000)
        while not rebuilding.done():
            assert (await system.load(40, 20, seed=next(seed))).complete
        await rebuilding
        await system.settled()
        grown = await state(system, "analytics")
        await replayed(system, "analytics")
        assert await state(system, "analytics") == grown
    finally:
        await system.fanout("scale", "analytics", "1")


async def test_what_was_changed_by_hand_is_gone_after_a_replay(system: System) -> None:
    await system.order()
    await system.settled()
    grown = await state(system, "analytics")
    await system.query("analytics", "UPDATE sales SET revenue_cents = revenue_cents + 1")
    assert await state(system, "analytics") != grown
    await replayed(system, "analytics")
    assert await state(system, "analytics") == grown


async def test_a_replay_from_a_time_knows_only_of_what_came_since(system: System) -> None:
    await system.order()
    await system.settled()
    before = await rows(system, "analytics", "sales")
    [[timestamp]] = await system.query("orders", "SELECT clock_timestamp()")
    await asyncio.gather(*(system.order() for _ in range(3)))
    await system.settled()
    summary = await replayed(system, "analytics", "--from", timestamp.isoformat())
    assert (summary["since"], await rows(system, "analytics", "sales")) == (timestamp.isoformat(), 3)
    await system.settled()
    await replayed(system, "analytics")
    assert await rows(system, "analytics", "sales") == before + 3
    await system.settled()


async def test_a_replay_of_inventory_changes_nothing_and_says_what_it_saw(system: System) -> None:
    await system.load(20, 20, seed=13)
    await system.settled()
    held, receipts = await state(system, "inventory"), await rows(system, "inventory", "inbox")
    said = await rows(system, "inventory", "outbox")
    summary = await replayed(system, "inventory")
    assert summary["seen"] == summary["ignored"] >= receipts > 0
    assert (summary["applied"], summary["not_ignored"], summary["is_harmless"]) == (0, [], True)
    assert await state(system, "inventory") == held
    assert (await rows(system, "inventory", "inbox"), await rows(system, "inventory", "outbox")) == (
        receipts,
        said,
    )
    lines = (await system.fanout("replay", "inventory", "--from", "1h")).splitlines()
    assert lines[-1].endswith("nothing changed")
    await system.settled()


async def test_a_replay_of_notifications_sends_no_mail_again(system: System) -> None:
    order = await system.order()
    await system.settled()

    async def mails() -> list[Any]:
        return list(json.loads(await system.fanout("mailbox", "--json", "--limit", "100000"))["messages"])

    async def all_sent() -> bool:
        return not await system.query("notifications", "SELECT 1 FROM messages WHERE sent_at IS NULL")

    await until(all_sent, 90)
    arrived, written = await mails(), await rows(system, "notifications", "messages")
    summary = await replayed(system, "notifications")
    assert summary["ignored"] == summary["seen"] >= written > 0
    assert await rows(system, "notifications", "messages") == written
    after = await system.order()

    async def mailed() -> list[str]:
        return [mail["message_id"] for mail in await mails() if mail["order_id"] == after]

    await until(mailed, 60)
    assert [mail for mail in await mails() if mail["order_id"] != after] == arrived
    assert any(mail["order_id"] == order for mail in arrived)


async def test_events_that_wait_are_not_jumped_over_by_a_replay_from_a_later_time(system: System) -> None:
    await system.fanout("stop", "fraud-worker")
    order = await system.order()
    await system.until_status(order, "shipped")
    summary = await replayed(system, "fraud", "--from", "0s")
    assert summary["applied"] >= 1 and summary["is_harmless"]
    assert await system.query("fraud", "SELECT 1 FROM assessments WHERE order_id = $1", order)
    await system.settled()


def heeds_interrupts() -> None:
    """Whatever a shell starts in its background ignores them, and so do those whom that starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


async def test_what_ends_the_tool_leaves_workers_that_go_on(system: System) -> None:
    """In the middle for certain: offsets are moved, and the clearing waits for a table the test has locked."""
    await system.load(50, 50, seed=14)
    await system.settled()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        async with system.connect("analytics") as connection, connection.transaction():
            await connection.execute("LOCK TABLE inbox IN EXCLUSIVE MODE")
            replay = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "fanout", "replay", "analytics"),
                cwd=system.stack.repository,
                env=system.stack.environment,
                stderr=subprocess.PIPE,
                preexec_fn=heeds_interrupts,
            )
            await until(lambda: system.someone_waits("analytics", "DELETE FROM inbox"))
            replay.send_signal(number)
            _, said = await asyncio.wait_for(replay.communicate(), 60)
        assert replay.returncode == (-number if number is signal.SIGKILL else 128 + number), said.decode()
        if number is signal.SIGKILL:
            await system.fanout("up")
        order = await system.order()
        await system.settled()
        assert await system.query("analytics", "SELECT 1 FROM sales WHERE order_id = $1", order)
    grown = await state(system, "analytics")
    await replayed(system, "analytics")
    assert await state(system, "analytics") == grown
