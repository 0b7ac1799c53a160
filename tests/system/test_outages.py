"""Dependencies that are away for a while: orders are taken, nothing is parked, everything catches up by itself."""

import asyncio
import re
import sys
from asyncio.subprocess import PIPE

import httpx

from tests.support.system import WORKERS, System, until

ALL_WORKERS = tuple(f"{service}-worker" for service in WORKERS)


async def test_orders_are_taken_with_kafka_registry_and_all_workers_stopped(system: System) -> None:
    await system.fanout("stop", "kafka", "registry", *ALL_WORKERS)
    order_ids = [await system.order() for _ in range(100)]
    assert len(set(order_ids)) == 100
    await system.fanout("start", "kafka", "registry", *ALL_WORKERS)
    for order_id in order_ids:
        await system.until_status(order_id, "shipped", seconds=60)
    await system.settled()


async def test_a_broker_that_is_down_parks_nothing_and_costs_nothing(system: System) -> None:
    """Down for longer than the producer keeps a message: then the outbox is all there is."""
    parked, given_up = await parked_messages(system), await deliveries_given_up(system)
    await system.fanout("stop", "kafka")
    order_ids = [await system.order() for _ in range(20)]
    await until(lambda: more_deliveries_given_up(system, given_up))
    await system.fanout("start", "kafka")
    for order_id in order_ids:
        await system.until_status(order_id, "shipped", seconds=60)
    assert await parked_messages(system) == parked


async def test_invoices_placed_without_kafka_wait_for_it_and_are_paid_when_it_is_back(system: System) -> None:
    await system.fanout("stop", "kafka")
    try:
        load = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "fanout", "load", "--orders", "40", "--rate", "40"),
            cwd=system.stack.repository,
            env=system.stack.environment,
            stdout=PIPE,
            stderr=PIPE,
        )
        assert load.stderr
        await asyncio.wait_for(load.stderr.readuntil(b"wait for Kafka"), 60)
    finally:
        await system.fanout("start", "kafka")
    printed, _ = await asyncio.wait_for(load.communicate(), 60)
    assert load.returncode == 0, printed
    assert re.search(r"^invoices: ok \d+$", printed.decode(), re.MULTILINE), printed
    assert b"404" not in printed
    await system.settled()


async def test_a_postgres_that_is_down_parks_nothing_and_costs_nothing(system: System) -> None:
    parked = await parked_messages(system)
    load = asyncio.create_task(system.load(60, 30))
    await system.fanout("stop", "postgres")
    await system.fanout("start", "postgres")
    assert (await load).complete
    await system.settled()
    assert await parked_messages(system) == parked


async def test_with_warm_caches_nobody_misses_the_registry(system: System) -> None:
    await system.until_status(await system.order(), "shipped")
    await system.fanout("stop", "registry")
    try:
        await system.until_status(await system.order(), "shipped")
    finally:
        await system.fanout("start", "registry")


async def test_with_cold_caches_workers_wait_for_the_registry(system: System) -> None:
    parked = await parked_messages(system)
    await system.fanout("stop", "registry", *ALL_WORKERS)
    order_ids = [await system.order() for _ in range(10)]
    await system.fanout("start", *ALL_WORKERS)
    await until(lambda: relay_is_interrupted(system))
    assert {(await system.show(order_id))["status"] for order_id in order_ids} == {"placed"}
    await system.fanout("start", "registry")
    for order_id in order_ids:
        await system.until_status(order_id, "shipped", seconds=60)
    assert await parked_messages(system) == parked


async def test_a_breaking_schema_is_refused(system: System) -> None:
    """A required new field would break every reader of old events."""
    subject = f"{system.stack.addresses.registry_url}/subjects/orders-fanout.OrderConfirmed/versions"
    async with httpx.AsyncClient(timeout=10) as registry:
        latest = (await registry.get(f"{subject}/latest")).json()["schema"]
        breaking = latest.replace('"fields":[', '"fields":[{"name":"must_have","type":"string","doc":"new"},')
        breaking = breaking.replace(
            '"fields": [', '"fields": [{"name":"must_have","type":"string","doc":"new"},'
        )
        assert breaking != latest
        answer = await registry.post(subject, json={"schema": breaking})
    assert answer.status_code == 409


async def parked_messages(system: System) -> int:
    return sum([len(await system.query(service, "SELECT 1 FROM parked")) for service in WORKERS])


async def deliveries_given_up(system: System) -> int:
    return (await system.fanout("logs", "orders-worker", "-n", "100000")).count('"error":"NotDelivered')


async def more_deliveries_given_up(system: System, before: int) -> bool:
    return await deliveries_given_up(system) > before


async def relay_is_interrupted(system: System) -> bool:
    log = await system.fanout("logs", "orders-worker", "-n", "20")
    return "relay_interrupted" in log
