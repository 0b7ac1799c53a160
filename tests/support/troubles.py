"""Troubles that a running stack may have, caused for real; each ends with its context."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from chassis.config import Broker
from fanout.provision.topics import set_on
from tests.support.slow_fraud import slow_fraud
from tests.support.system import System, until

REDRIVE_TOPIC = "orders.fraud.retry"
ZEROS = 20 * 2**20
"""More than a consumer unpacks of one batch."""


@asynccontextmanager
async def nothing(system: System) -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def stopped(system: System, process: str, orders: int = 5) -> AsyncIterator[None]:
    """A process is stopped, and so many orders are placed then."""
    await system.fanout("stop", process)
    try:
        for _ in range(orders):
            await system.order()
        yield
    finally:
        await system.fanout("start", process)


@asynccontextmanager
async def a_slow_consumer(system: System) -> AsyncIterator[None]:
    """Fraud takes a second for each of twelve orders."""
    async with slow_fraud(system.stack.addresses.databases["fraud"]):
        for _ in range(12):
            await system.order()
        yield


@asynccontextmanager
async def a_parked_message(system: System) -> AsyncIterator[None]:
    whole = await system.fanout("poison")
    order_id, sql = (
        json.loads(whole)["order_id"],
        "SELECT dead_letter_id FROM dead_letters WHERE consumer = 'orders' AND key = $1",
    )

    async def parked() -> str | None:
        rows = await system.query("dead_letters", sql, order_id.encode())
        return str(rows[0]["dead_letter_id"]) if rows else None

    dead_letter = await until(parked)
    try:
        yield
    finally:
        await system.fanout(
            "dlq", "redrive", dead_letter, "--correct", whole, "--why", "end of a test", "--yes"
        )


@asynccontextmanager
async def a_row_that_cannot_be_sent(system: System) -> AsyncIterator[None]:
    async with system.connect("orders") as db:
        insert = "INSERT INTO outbox (event_id, topic, key, headers) VALUES ($1, $2, 'k', '[]') RETURNING id"
        row = await db.fetchval(insert, uuid4(), "orders.fraud.gone")
    refused = "SELECT 1 FROM outbox WHERE id = $1 AND set_aside_at IS NOT NULL"
    await until(lambda: system.query("orders", refused, row))
    yield


@asynccontextmanager
async def a_partition_said_to_be_held(system: System) -> AsyncIterator[None]:
    """The database of fraud says so, and fraud reads on."""
    row = "('fraud', 'orders.fraud.gone', 0, 0, 'of a test')"
    columns = "(consumer, topic, partition, kafka_offset, error)"
    async with system.connect("fraud") as db:
        await db.execute(f"INSERT INTO held_partitions {columns} VALUES {row}")
        try:
            yield
        finally:
            await db.execute("DELETE FROM held_partitions WHERE error = 'of a test'")


@asynccontextmanager
async def a_held_partition(system: System) -> AsyncIterator[None]:
    """A batch of zeros that unpacks to more than a consumer takes lies in a topic that only fraud reads.

    The ledger counts it as lost for ever: it was deleted unread, and no outbox has it.
    """
    broker = system.stack.addresses.broker
    admin = AdminClient(broker.for_librdkafka())
    await asyncio.to_thread(set_on, admin, REDRIVE_TOPIC, {"compression.type": "producer"})
    offset = await asyncio.to_thread(send_zeros, broker)
    await until(lambda: system.query("fraud", "SELECT FROM held_partitions"))
    try:
        yield
    finally:
        await asyncio.to_thread(delete_records, admin, {(REDRIVE_TOPIC, 0): offset + 1})
        await asyncio.to_thread(set_on, admin, REDRIVE_TOPIC, {"compression.type": "uncompressed"})

        async def none_is_held() -> bool:
            return not await system.query("fraud", "SELECT FROM held_partitions")

        await until(none_is_held, 60)


def send_zeros(broker: Broker) -> int:
    """Returns the offset of the record."""
    settings = {"compression.type": "gzip", "message.max.bytes": 2 * ZEROS}
    producer, offsets = Producer({**broker.for_librdkafka(), **settings}), list[int | None]()
    producer.produce(
        REDRIVE_TOPIC,
        bytes(ZEROS),
        b"k",
        partition=0,
        on_delivery=lambda _, record: offsets.append(record.offset()),
    )
    assert producer.flush(20) == 0
    [offset] = offsets
    assert offset is not None
    return offset


@asynccontextmanager
async def lost_events(system: System) -> AsyncIterator[None]:
    """Kafka deletes what it has of orders while fraud is stopped."""
    async with stopped(system, "fraud-worker", orders=0):
        order_ids = [await system.order() for _ in range(5)]
        for order_id in order_ids:
            await system.until_status(order_id, "shipped", 60)
        await asyncio.to_thread(delete_all, system.stack.addresses.broker, "orders")
        yield


def delete_all(broker: Broker, topic: str) -> None:
    admin = AdminClient(broker.for_librdkafka())
    numbers = admin.list_topics(topic, timeout=10).topics[topic].partitions
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    asked = admin.list_offsets({TopicPartition(topic, number): latest for number in numbers})
    delete_records(admin, {(topic, at.partition): found.result().offset for at, found in asked.items()})


def delete_records(admin: AdminClient, before: dict[tuple[str, int], int]) -> None:
    """Deletes what lies before an offset of each partition."""
    for deleted in admin.delete_records(
        [TopicPartition(*place, offset) for place, offset in before.items()]
    ).values():
        deleted.result(10)
