"""Processes killed with SIGKILL at work: nothing is lost or applied twice, and no operator has to help."""

import asyncio

import pytest

from tests.support.system import WORKERS, System, until

RATE = 40.0


@pytest.mark.parametrize("service", WORKERS)
async def test_a_worker_killed_in_the_middle_of_a_batch_under_load(system: System, service: str) -> None:
    """The batch's effects are written but not committed: it waits for a table that the test has locked."""
    load = asyncio.create_task(system.load(80, RATE))
    async with system.connect(service) as connection, connection.transaction():
        await connection.execute("LOCK TABLE consumer_offsets IN EXCLUSIVE MODE")
        await until(lambda: system.someone_waits(service, "INTO consumer_offsets"))
        await system.fanout("kill", f"{service}-worker")
    assert (await load).complete
    await system.settled()


async def test_a_relay_killed_between_publish_and_mark_sends_again_and_nothing_is_applied_twice(
    system: System,
) -> None:
    """Kafka has the event, but the relay's UPDATE waits for a row that the test has locked.

    The lock is held until the next relay has sent the event again: the killed one's UPDATE still waits for it.
    """
    duplicates_before = await duplicates(system)
    await system.fanout("stop", "orders-worker")
    order_id = await system.order()
    async with system.connect("orders") as connection, connection.transaction():
        await connection.execute("SELECT 1 FROM outbox WHERE aggregate_id = $1 FOR UPDATE", order_id)
        await system.fanout("start", "orders-worker")
        await until(lambda: system.someone_waits("orders", "UPDATE outbox"))
        await system.fanout("kill", "orders-worker")
        await until(lambda: more_duplicates_than(system, duplicates_before))
    await system.until_status(order_id, "shipped", seconds=60)
    await system.settled()


@pytest.mark.parametrize("dependency", ["kafka", "postgres", "registry"])
async def test_after_a_dependency_was_killed_under_load_every_process_recovers(
    system: System, dependency: str
) -> None:
    load = asyncio.create_task(system.load(120, RATE))
    await until(lambda: applied_recently(system))
    await system.fanout("kill", dependency)
    assert (await load).complete
    await system.settled(120)


async def duplicates(system: System) -> int:
    rows = await system.query("fraud", "SELECT sum(duplicates)::int AS duplicates FROM consumer_offsets")
    return rows[0]["duplicates"] or 0


async def more_duplicates_than(system: System, before: int) -> bool:
    return await duplicates(system) > before


async def applied_recently(system: System) -> bool:
    return bool(
        await system.query(
            "fraud", "SELECT 1 FROM inbox WHERE received_at > clock_timestamp() - interval '1 s'"
        )
    )
