"""A relay on a database of its own, and topics of its own on the real Kafka, for tests of what is sent."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from sqlalchemy import text

from chassis.config import Broker
from chassis.database import Database
from chassis.events.registry import Registry
from chassis.outbox.forward import Message, forward
from chassis.outbox.relay import Relay
from tests.support.stack import Stack

WAIT = 10.0


class Topics:
    """Makes topics with one partition, reads them, and deletes them all at the end."""

    def __init__(self, broker: Broker, registry_url: str) -> None:
        self.broker = broker
        self.registry_url = registry_url
        self._admin = AdminClient(broker.for_librdkafka())
        self._names: list[str] = []

    def name(self, suffix: str = "") -> str:
        return f"test-relay-{uuid4().hex[:8]}{suffix}"

    def new(self, name: str | None = None, **config: str) -> str:
        """Returns the name; options are written with underscores: max_message_bytes."""
        name = name or self.name()
        options = {key.replace("_", "."): value for key, value in config.items()}
        for made in self._admin.create_topics([NewTopic(name, 1, 1, config=options)]).values():
            made.result(WAIT)
        self._names.append(name)
        return name

    def delete(self, *names: str) -> None:
        for deleted in self._admin.delete_topics(list(names)).values():
            deleted.result(WAIT)
        self._names = [name for name in self._names if name not in names]

    def values(self, topic: str) -> list[bytes | None]:
        """Everything in the topic, in order."""
        consumer = Consumer(
            self.broker.for_librdkafka() | {"group.id": "nobody", "enable.auto.commit": False}
        )
        try:
            place = TopicPartition(topic, 0, 0)
            _, end = consumer.get_watermark_offsets(place, timeout=WAIT)
            consumer.assign([place])
            found: list[bytes | None] = []
            while len(found) < end:
                record = consumer.poll(WAIT)
                assert record is not None and record.error() is None
                found.append(record.value())
            return found
        finally:
            consumer.close()

    def close(self) -> None:
        if self._names:
            self.delete(*self._names)


@pytest.fixture
def kafka_topics(stack: Stack) -> Iterator[Topics]:
    topics = Topics(stack.addresses.broker, stack.addresses.registry_url)
    yield topics
    topics.close()


@asynccontextmanager
async def running(database: Database, topics: Topics) -> AsyncIterator[Relay]:
    """A relay at work; it is stopped at the end."""
    stop, registry = asyncio.Event(), Registry(topics.registry_url)
    url = database.engine.url.render_as_string(hide_password=False)
    relay = Relay("fraud", url, topics.broker, registry)
    task = asyncio.create_task(relay.run(stop))
    try:
        yield relay
    finally:
        stop.set()
        await asyncio.wait_for(task, WAIT)
        await registry.aclose()


async def write(database: Database, messages: Sequence[Message]) -> None:
    """Commits rows without waking any relay."""
    async with database.engine.begin() as db:
        await forward(db, messages)


async def fetch(database: Database, sql: str, **values: Any) -> list[Any]:
    async with database.engine.begin() as db:
        return list(await db.execute(text(sql), values))


async def unsent(database: Database) -> int:
    [(count,)] = await fetch(database, "SELECT count(*) FROM outbox WHERE published_at IS NULL")
    return int(count)


async def until(condition: Callable[[], Awaitable[Any]], seconds: float = WAIT) -> Any:
    """Returns the first true answer; fails with the last one after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (answer := await condition()):
        assert time.monotonic() < deadline, f"still {answer!r} after {seconds} s"
        await asyncio.sleep(0.02)
    return answer
