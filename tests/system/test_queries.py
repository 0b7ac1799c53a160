"""Every query of every dashboard and alert finds data in a real Prometheus that watches the running system."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import monotonic

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType

from deploy.observability.dashboards.__main__ import FOLDER
from tests.support.dashboards import queries_of
from tests.support.prometheus import (
    RULES,
    Prometheus,
    Query,
    evaluated_every,
    needs_prometheus,
    queries_of_rules,
    unanswered,
    watching,
)
from tests.support.system import System, until

SECONDS = 90
HELD = "fanout_partition_held"
REDRIVE_TOPIC = "orders.fraud.retry"
ZEROS = 20 * 2**20
"""More than a consumer unpacks of one batch."""


@needs_prometheus
@pytest.mark.timeout(240)
async def test_every_query_of_every_dashboard_and_alert_returns_data(system: System, tmp_path: Path) -> None:
    queries = [*queries_of_rules(), *queries_of(FOLDER)]
    assert len(queries) > 80
    rules = evaluated_every("1s", RULES.read_text())
    async with watching(system.stack, tmp_path, "1s", rules) as prometheus, AsyncExitStack() as troubles:
        await troubles.enter_async_context(a_parked_message(system))
        await troubles.enter_async_context(unread_events(system))
        async with a_held_partition(system):
            await answered(prometheus, [each for each in queries if HELD in each.expression])
        await system.load(60, 30)
        await answered(prometheus, [each for each in queries if HELD not in each.expression])

    async def none_is_held() -> bool:
        return not await system.query("fraud", "SELECT FROM held_partitions")

    await until(none_is_held, 60)


async def answered(prometheus: Prometheus, queries: Sequence[Query]) -> None:
    """Waits until each query has had an answer; fails with those that had none."""
    deadline, missing = monotonic() + SECONDS, list(queries)
    while missing := await unanswered(prometheus, missing):
        assert monotonic() < deadline, "\n".join(f"{each.source}: {each.expression}" for each in missing)
        await asyncio.sleep(0.5)


@asynccontextmanager
async def a_parked_message(system: System) -> AsyncIterator[None]:
    whole = await system.fanout("poison")

    async def parked() -> str | None:
        letters = json.loads(await system.fanout("dlq", "ls", "--consumer", "orders", "--json"))[
            "dead_letters"
        ]
        return next((str(each["dead_letter_id"]) for each in reversed(letters)), None)

    dead_letter = await until(parked)
    yield
    await system.fanout("dlq", "redrive", dead_letter, "--correct", whole, "--why", "end of a test", "--yes")


@asynccontextmanager
async def unread_events(system: System) -> AsyncIterator[None]:
    """Nobody reads for analytics."""
    await system.fanout("stop", "analytics-worker")
    await system.order()
    yield
    await system.fanout("start", "analytics-worker")


@asynccontextmanager
async def a_held_partition(system: System) -> AsyncIterator[None]:
    """A record of zeros that unpacks to more than a consumer takes lies in a topic that only fraud reads."""
    broker = system.stack.addresses.broker
    admin = AdminClient(broker.for_librdkafka())
    await asyncio.to_thread(keep_compressed, admin, "producer")
    settings = {"compression.type": "gzip", "message.max.bytes": 2 * ZEROS}
    producer = Producer({**broker.for_librdkafka(), **settings})
    sent: list[int | None] = []
    producer.produce(
        REDRIVE_TOPIC,
        bytes(ZEROS),
        b"k",
        partition=0,
        on_delivery=lambda _, record: sent.append(record.offset()),
    )
    assert await asyncio.to_thread(producer.flush, 20) == 0
    try:
        yield
    finally:
        behind = TopicPartition(REDRIVE_TOPIC, 0, (sent[0] or 0) + 1)
        for deleted in admin.delete_records([behind]).values():
            await asyncio.to_thread(deleted.result, 10)
        await asyncio.to_thread(keep_compressed, admin, "uncompressed")


def keep_compressed(admin: AdminClient, how: str) -> None:
    change = ConfigEntry("compression.type", how, incremental_operation=AlterConfigOpType.SET)
    topic = ConfigResource(ResourceType.TOPIC, REDRIVE_TOPIC, incremental_configs=[change])
    for done in admin.incremental_alter_configs([topic]).values():
        done.result(10)
