"""A worker's memory stays under its limit in docker-compose.yml, whatever waits for it in Kafka."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType

import psutil
import pytest
import yaml
from confluent_kafka import Producer
from sqlalchemy import text
from uuid_utils.compat import uuid7

from chassis.database import Database
from schemas import OrderPlaced
from schemas.files import subject_named, versions_of
from tests.benchmarks.workbench import fill, order_placed, sampled
from tests.support.kafka_topics import Topic, kafka_address, new_topic
from tests.support.otlp_receiver import otlp_endpoint
from tests.support.registered import registered
from tests.support.stack import REPOSITORY
from tests.support.stack_fixtures import NewDatabase

EVENTS = int(os.environ.get("EV", "100000"))
ZEROS = 300 * 2**20
NO_TRACING: Mapping[str, str] = MappingProxyType({})
LIMIT_MB = int(
    yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["x-worker"]["mem_limit"].removesuffix("m")
)


def registry_url(request: pytest.FixtureRequest) -> str:
    """`FANOUT_TEST_REGISTRY` names one to use instead of a stack's."""
    return os.environ.get("FANOUT_TEST_REGISTRY") or request.getfixturevalue("stack").addresses.registry_url


@pytest.fixture
async def database(new_database: NewDatabase) -> Database:
    return await new_database("notifications")


@pytest.fixture
async def topic(request: pytest.FixtureRequest, database: Database) -> AsyncIterator[Topic]:
    async with new_topic(kafka_address(request), database, partitions=6) as made:
        yield made


class Memory:
    """The most that a process took, without what it shares with others: what `fanout status` shows, too."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.most_mb = 0.0

    async def watch(self) -> None:
        while True:
            self.most_mb = max(self.most_mb, self._process.memory_full_info().pss / 2**20)
            await asyncio.sleep(0.03)


@asynccontextmanager
async def worker(
    topic: Topic, registry: str, tracing: Mapping[str, str] = NO_TRACING
) -> AsyncIterator[Memory]:
    settings = {
        **tracing,
        "FANOUT_DATABASE_URL": topic.database.engine.url.render_as_string(hide_password=False),
        "FANOUT_KAFKA": topic.kafka,
        "FANOUT_REGISTRY_URL": registry,
    }
    command = [sys.executable, "-m", "tests.support.single_topic_worker", topic.name]
    process = subprocess.Popen(command, cwd=REPOSITORY, env=os.environ | settings)  # noqa: ASYNC220
    memory = Memory(process.pid)
    watching = asyncio.create_task(memory.watch())
    try:
        yield memory
    finally:
        watching.cancel()
        process.terminate()
        process.wait(15)
    print(f"at most {memory.most_mb:.0f} MB")
    assert process.returncode == 0
    assert memory.most_mb < LIMIT_MB


async def applied(database: Database) -> int:
    async with database.transaction() as db:
        found = await db.execute(text("SELECT coalesce(sum(applied), 0)::int FROM consumer_offsets"))
        return int(found.scalar_one())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("is_traced", [False, True], ids=["without traces", "every event traced"])
async def test_a_hundred_thousand_waiting_events_fit_into_the_limit(
    request: pytest.FixtureRequest, database: Database, topic: Topic, is_traced: bool
) -> None:
    exported: list[int] = []
    text = versions_of(OrderPlaced)[-1][1]
    url, subject = registry_url(request), subject_named(topic.name, OrderPlaced.NAME)
    with (
        registered(url, subject, text) as [schema_id],
        otlp_endpoint(lambda body: exported.append(len(body))) as endpoint,
    ):
        events = [(uuid7(), order_placed(n)) for n in range(EVENTS)]
        fill(topic.kafka, topic.name, events, schema_id, sampled(one_in=1))
        began = time.monotonic()
        async with worker(topic, url, {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint} if is_traced else NO_TRACING):
            while await applied(database) < EVENTS:
                assert time.monotonic() - began < 500
                await asyncio.sleep(0.5)
    print(f"{EVENTS / (time.monotonic() - began):.0f} events/s, {sum(exported):,} bytes of spans")
    assert (sum(exported) > 0) is is_traced


async def test_three_hundred_megabytes_of_zeros_in_a_small_gzip_do_not_fill_the_memory(
    request: pytest.FixtureRequest, database: Database, topic: Topic
) -> None:
    """On a topic on which the broker does not unpack what producers compress."""
    producer = Producer(
        {"bootstrap.servers": topic.kafka, "compression.type": "gzip", "message.max.bytes": 10**9}
    )
    for partition in range(6):
        producer.produce(topic.name, bytes(ZEROS), b"bomb", partition=partition)
        assert producer.flush(60) == 0
    held = text("SELECT count(*) FROM held_partitions")
    began = time.monotonic()
    async with worker(topic, registry_url(request)):
        while True:
            async with database.transaction() as db:
                if (await db.execute(held)).scalar_one() == 6:
                    break
            assert time.monotonic() - began < 60
            await asyncio.sleep(0.2)
