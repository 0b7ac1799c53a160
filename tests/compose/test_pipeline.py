"""Orders go through containers that are killed, from inside and from outside; what was accepted is never lost."""

import asyncio
import time

from tests.support.containers import Containers, connected
from tests.support.system import System, until

POISON = """
from chassis.config import read_settings
from confluent_kafka import Producer
settings = read_settings()
producer = Producer(settings.broker.for_librdkafka())
producer.produce("orders", b"rubbish", b"nobody", partition=0)
assert producer.flush(20) == 0
"""
FILED = "SELECT 1 FROM dead_letters WHERE consumer = 'notifications' AND status = 'parked' AND key = $1"
WRITTEN = "SELECT 1 FROM messages WHERE order_id = $1"


async def test_an_order_is_shipped_and_its_customer_told(system: System) -> None:
    order = await system.order()
    await system.until_status(order, "shipped")

    async def described() -> bool:
        return "on its way" in await system.fanout("mailbox", "--order", order)

    await until(described)


async def test_a_worker_that_dies_is_started_again(system: System, containers: Containers) -> None:
    workers = [name for name in containers.processes if name.endswith("-worker")]
    before = containers.restarts()
    placed = []
    for worker in workers:
        containers.crash(worker)
        placed.append(await system.order())

    async def all_are_back() -> bool:
        now = await asyncio.to_thread(containers.restarts)
        return all(now[name] == before[name] + 1 for name in workers)

    await until(all_are_back, 90)
    for order in placed:
        await system.until_status(order, "shipped", 90)
    await system.settled()


async def test_a_container_that_the_operator_kills_stays_down_until_it_is_started(
    system: System, containers: Containers
) -> None:
    """Longer than the engine takes to start again one that crashed later."""
    found = containers.inspected()["inventory-worker"]
    crashes = containers.restarts()["fraud-worker"]
    containers.docker("kill", found["Id"])
    containers.crash("fraud-worker")

    async def is_started_again() -> bool:
        return (await asyncio.to_thread(containers.restarts))["fraud-worker"] > crashes

    await until(is_started_again, 90)
    order = await system.order()
    assert not containers.inspected()["inventory-worker"]["State"]["Running"]
    containers.compose("up", "--no-deps", "--wait", "inventory-worker")
    await system.until_status(order, "shipped", 60)


async def test_the_broker_keeps_what_it_had(system: System, containers: Containers) -> None:
    await system.settled()
    containers.compose("stop", "kafka")
    began = time.monotonic()
    order = await system.order()
    assert time.monotonic() - began < 5, "placing an order waited for the broker"
    containers.compose("up", "--no-deps", "--wait", "kafka")
    await system.until_status(order, "shipped", 120)
    events = "SELECT count(*) FROM outbox WHERE published_at IS NOT NULL AND type IS NOT NULL"
    published = (await system.query("orders", events))[0][0]
    assert await asyncio.to_thread(messages_in, containers, "orders") >= published
    await system.settled()


async def test_rubbish_is_parked_by_whoever_reads_it_and_stops_nobody(
    system: System, containers: Containers
) -> None:
    done = containers.inside("orders-worker", POISON)
    assert done.returncode == 0, done.stderr
    readers = ("fraud", "fulfillment", "inventory", "payments", "notifications", "analytics")

    async def all_have_parked_it() -> bool:
        counted = [
            await system.query(reader, "SELECT count(*) FROM parked WHERE value = 'rubbish'")
            for reader in readers
        ]
        return [rows[0][0] for rows in counted] == [1] * len(readers)

    await until(all_have_parked_it)
    await system.until_status(await system.order(), "shipped")
    await system.settled()


def test_what_was_there_stays_when_everything_is_made_anew(containers: Containers) -> None:
    """The set-up runs once more, and changes nothing."""
    said = containers.compose("run", "--rm", "--no-deps", "setup")
    assert said.strip() == "nothing changed"


async def test_what_a_bug_parked_is_sent_back_once_it_is_mended(
    system: System, containers: Containers
) -> None:
    async with connected(containers, "postgres", "notifications") as db:
        await db.execute("ALTER TABLE messages ADD CONSTRAINT bug CHECK (false) NOT VALID")
        order = await system.order()
        await system.until_status(order, "shipped")

        async def all_filed() -> bool:
            return len(await system.query("dead_letters", FILED, order.encode())) == 3

        await until(all_filed)
        await db.execute("ALTER TABLE messages DROP CONSTRAINT bug")
    await system.fanout("dlq", "redrive", "--consumer", "notifications", "--why", "mended")

    async def all_written() -> bool:
        return len(await system.query("notifications", WRITTEN, order)) == 3

    await until(all_written)
    await system.settled()


async def test_a_read_model_is_rebuilt_once_its_worker_is_stopped(
    system: System, containers: Containers
) -> None:
    await system.settled()
    every_step = "SELECT * FROM steps ORDER BY order_id, step"
    steps = await system.query("analytics", every_step)
    refused = containers.fanout("replay", "analytics")
    assert refused.returncode == 1
    assert "docker compose stop analytics-worker" in refused.stderr
    assert await system.query("analytics", every_step) == steps

    containers.compose("stop", "analytics-worker")
    assert "docker compose start analytics-worker" in await system.fanout("replay", "analytics")
    assert await system.query("analytics", every_step) == []
    containers.compose("start", "analytics-worker")

    async def is_rebuilt() -> bool:
        return await system.query("analytics", every_step) == steps

    await until(is_rebuilt, 60)
    await system.settled()


async def test_the_tool_works_without_python_on_this_machine(system: System, containers: Containers) -> None:
    assert "100 orders in" in await system.fanout("load", "--orders", "100", "--rate", "50")
    order = await system.order()
    await system.until_status(order, "shipped")
    assert "OrderShipped" in await system.fanout("order", order)
    assert "fraud" in await system.fanout("lag")
    assert await system.fanout("dlq", "ls")
    assert await system.fanout("outbox", "ls")
    await system.fanout("mailbox", "--delay", "10ms")
    await system.fanout("mailbox", "--delay", "0")
    refused = containers.fanout("kill", "fraud-worker")
    assert (refused.returncode, "docker compose exec fraud-worker" in refused.stderr) == (2, True)


def messages_in(containers: Containers, topic: str) -> int:
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({**containers.addresses.broker.for_librdkafka(), "group.id": "fanout-lag"})
    try:
        numbers = consumer.list_topics(topic, timeout=20).topics[topic].partitions
        ends = [consumer.get_watermark_offsets(TopicPartition(topic, number), 20) for number in numbers]
        return sum(end - start for start, end in ends)
    finally:
        consumer.close()
