"""The same events again and again: nothing happens twice."""

from functools import partial

from confluent_kafka import ConsumerGroupTopicPartitions
from confluent_kafka import TopicPartition as Offset
from confluent_kafka.admin import AdminClient

from tests.support.system import WORKERS, System, until

ALL_WORKERS = tuple(f"{service}-worker" for service in WORKERS)
EFFECTS = {
    "orders": "SELECT * FROM orders ORDER BY order_id",
    "payments": "SELECT * FROM payments ORDER BY order_id",
    "inventory": "SELECT * FROM stock ORDER BY product_id",
    "fraud": "SELECT * FROM assessments ORDER BY order_id",
    "fulfillment": "SELECT * FROM shipments ORDER BY order_id",
    "notifications": "SELECT id, order_id, customer_id, kind, body, created_at, message_id FROM messages ORDER BY id",
    "analytics": "SELECT * FROM steps ORDER BY order_id, step",
}


async def test_a_thousand_events_delivered_three_times_have_no_new_effects(system: System) -> None:
    report = await system.load(170, 60)
    assert report.complete
    await system.settled()
    before = {service: await system.query(service, sql) for service, sql in EFFECTS.items()}
    handled = await counted(system, "applied")
    assert sum(handled.values()) > 1_000

    for _ in range(2):
        seen = await counted(system, "received")
        await system.fanout("stop", *ALL_WORKERS)
        await reset_to_earliest(system)
        await system.fanout("start", *ALL_WORKERS)
        await until(partial(everything_came_again, system, seen), seconds=60)
        await system.settled()

    assert {service: await system.query(service, sql) for service, sql in EFFECTS.items()} == before
    assert await counted(system, "applied") == handled


async def counted(system: System, what: str) -> dict[str, int]:
    sql = f"SELECT coalesce(sum({what}), 0)::int AS n FROM consumer_offsets"
    return {service: (await system.query(service, sql))[0]["n"] for service in WORKERS}


async def everything_came_again(system: System, before: dict[str, int]) -> bool:
    """Each worker has received everything that it ever applied once more."""
    now, applied = await counted(system, "received"), await counted(system, "applied")
    return all(now[service] - before[service] >= applied[service] for service in WORKERS)


async def reset_to_earliest(system: System) -> None:
    admin = AdminClient({"bootstrap.servers": system.stack.addresses.kafka})
    for service in WORKERS:
        rows = await system.query(service, "SELECT topic, partition FROM consumer_offsets")
        offsets = [Offset(row["topic"], row["partition"], 0) for row in rows]
        request = ConsumerGroupTopicPartitions(service, offsets)
        for future in admin.alter_consumer_group_offsets([request]).values():
            future.result(timeout=10)
