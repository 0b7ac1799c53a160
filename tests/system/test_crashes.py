"""Processes killed with SIGKILL while they hold work: the ledger must hold, and nobody gives a command."""

import asyncio

import pytest

from tests.support.system import WORKERS, System, until

RATE = 40.0


@pytest.mark.parametrize("service", WORKERS)
async def test_a_worker_killed_in_the_middle_of_a_batch_under_load(system: System, service: str) -> None:
    """Mid-batch for certain: its effects are made, not committed, and it waits for a table the test has locked."""
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
    """The relay's UPDATE waits for a row that the test has locked: Kafka has the event, the outbox does not know.

    The lock stays until the next relay has sent the event again: the dead one's backend still waits for it.
    """
    repeated_before = await repeats(system)
    await system.fanout("stop", "orders-worker")
    order_id = await system.order()
    async with system.connect("orders") as connection, connection.transaction():
        await connection.execute("SELECT 1 FROM outbox WHERE aggregate_id = $1 FOR UPDATE", order_id)
        await system.fanout("start", "orders-worker")
        await until(lambda: system.someone_waits("orders", "UPDATE outbox"))
        await system.fanout("kill", "orders-worker")
        await until(lambda: more_repeats_than(system, repeated_before))
    await system.until_status(order_id, "shipped", seconds=60)
    await system.settled()


@pytest.mark.parametrize("dependency", ["kafka", "postgres", "registry"])
async def test_a_dependency_killed_under_load_comes_back_and_so_does_everyone(
    system: System, dependency: str
) -> None:
    load = asyncio.create_task(system.load(120, RATE))
    await until(lambda: anything_new(system))
    await system.fanout("kill", dependency)
    assert (await load).complete
    await system.settled(120)


async def repeats(system: System) -> int:
    rows = await system.query("fraud", "SELECT sum(duplicates)::int AS duplicates FROM consumer_offsets")
    return rows[0]["duplicates"] or 0


async def more_repeats_than(system: System, before: int) -> bool:
    return await repeats(system) > before


async def anything_new(system: System) -> bool:
    return bool(
        await system.query(
            "fraud", "SELECT 1 FROM inbox WHERE received_at > clock_timestamp() - interval '1 s'"
        )
    )
