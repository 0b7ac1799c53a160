"""The relay: one active per database, and each order's facts reach Kafka in their order, whoever sends them."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from confluent_kafka import Consumer, TopicPartition

from tests.support.stack import REPOSITORY
from tests.support.system import System, until

PARTITIONS = range(6)


async def test_of_two_relays_one_is_active_and_the_other_takes_over_in_order(
    system: System, tmp_path: Path
) -> None:
    log = tmp_path / "second.log"
    with second_orders_worker(system, log):
        await until(lambda: said(log, "partitions_assigned"))
        load = asyncio.create_task(system.load(150, 40))
        await until(
            lambda: system.query("orders", "SELECT 1 FROM outbox WHERE created_at > now() - interval '1 s'")
        )
        assert not await said(log, "relay_active"), "two relays were active at once"
        await system.fanout("kill", "orders-worker")
        await until(lambda: said(log, "relay_active"))
        assert (await load).complete
        await system.settled()
    await system.until_status(await system.order(), "shipped", seconds=60)
    assert await out_of_order(system, "orders", "orders") == []


async def test_a_backlog_goes_out_in_the_order_of_its_facts(system: System) -> None:
    """Placed and cancelled while the relay was away: both facts of an order wait in one batch."""
    await system.fanout("stop", "orders-worker")
    order_ids = [await system.order(payment_method="invoice", card_token=None) for _ in range(60)]
    for order_id in order_ids:
        answer = await system.http.post(f"{system.stack.addresses.apis['orders']}/orders/{order_id}/cancel")
        assert answer.status_code == 200
    await system.fanout("start", "orders-worker")
    await system.settled()
    assert await out_of_order(system, "orders", "orders") == []


@contextmanager
def second_orders_worker(system: System, log: Path) -> Iterator[None]:
    status = json.loads(system.stack.must("status", "--json"))
    [pid] = [process["pid"] for process in status["processes"] if process["process"] == "orders-worker"]
    environment = psutil.Process(pid).environ() | {"FANOUT_HTTP_PORT": "0"}
    command = [sys.executable, "-m", "chassis", "worker", "orders"]
    with log.open("w") as output:
        worker = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=output, stderr=output)
    try:
        yield
    finally:
        worker.terminate()
        assert worker.wait(15) == 0


async def said(log: Path, event: str) -> bool:
    return f'"event":"{event}"' in log.read_text()


async def out_of_order(system: System, service: str, topic: str) -> list[str]:
    """Keys whose events lie in Kafka (first occurrences) in another order than in the outbox."""
    positions = {
        str(row["event_id"]): row["id"]
        for row in await system.query(service, "SELECT id, event_id FROM outbox")
    }
    arrived: dict[str, list[int]] = {}
    for key, event_id in await asyncio.to_thread(everything_in, system.stack.addresses.kafka, topic):
        if event_id in positions and positions[event_id] not in arrived.setdefault(key, []):
            arrived[key].append(positions[event_id])
    assert len(arrived) > 50
    return [key for key, ids in arrived.items() if ids != sorted(ids)]


def everything_in(kafka: str, topic: str) -> list[tuple[str, str]]:
    """Key and event id of each record, partition by partition."""
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": "nobody", "enable.auto.commit": False})
    try:
        found = []
        for number in PARTITIONS:
            partition = TopicPartition(topic, number, 0)
            _, end = consumer.get_watermark_offsets(partition, timeout=10)
            consumer.assign([partition])
            position = 0
            while position < end:
                record = consumer.poll(10)
                assert record is not None and record.error() is None
                position = (record.offset() or 0) + 1
                found.append((text(record.key()), text(dict(record.headers() or {}).get("ce_id"))))
        return found
    finally:
        consumer.close()


def text(raw: str | bytes | None) -> str:
    return raw.decode("latin-1") if isinstance(raw, bytes) else raw or ""
