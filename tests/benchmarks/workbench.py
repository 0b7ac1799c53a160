"""A topic full of real OrderPlaced events and an empty notifications database, on the running stack."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from uuid import UUID, uuid4

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from sqlalchemy import text
from sqlalchemy.engine import URL, make_url
from uuid_utils.compat import uuid7

from chassis.config import Settings
from chassis.consumer.batch import EventProcessor
from chassis.consumer.kafka import Consumer
from chassis.consumer.offsets import Partition
from chassis.consumer.positions import Positions
from chassis.database import Database
from chassis.events.avro import encode, frame
from chassis.events.kafka_topics import KafkaTopics
from chassis.events.record import Record
from chassis.events.registry import Registry
from chassis.events.topics import redrive_topic
from chassis.migrations import migrate
from chassis.service import Service, load
from fanout.local.stack_directory import current
from fanout.running import Addresses, running
from schemas import OrderLine, OrderPlaced
from tests.support.databases import administer

PARTITIONS = 6
SERVICE = "notifications"


@dataclass(frozen=True)
class Workbench:
    addresses: Addresses
    service: Service
    database: Database
    registry: Registry
    url: URL
    topic: str
    events: Sequence[tuple[UUID, OrderPlaced]]

    @property
    def settings(self) -> Settings:
        return Settings(
            database_url=self.url.render_as_string(hide_password=False),
            kafka=self.addresses.kafka,
            registry_url=self.addresses.registry_url,
        )

    def new_group(self) -> str:
        return f"{self.topic}-{uuid4().hex[:6]}"

    async def forget_effects(self) -> None:
        async with self.database.transaction() as db:
            await db.execute(text("TRUNCATE inbox, consumer_offsets, parked, messages"))

    async def consume_with_the_chassis(self) -> float:
        """Events per second, from the first record handed over to the last one committed."""
        self.service.name = self.new_group()
        processor = Stopwatch(EventProcessor(self.service, self.database, self.registry), len(self.events))
        stop = asyncio.Event()
        consumer = Consumer(
            Positions(
                self.service.name, self.database, {OrderPlaced.NAME}, KafkaTopics(self.settings.broker)
            ),
            [self.topic],
            processor,
            self.settings,
        )
        consuming = asyncio.create_task(consumer.run(stop))
        await processor.done.wait()
        stop.set()
        await consuming
        return len(self.events) / processor.seconds


class Stopwatch:
    """A EventProcessor that says when everything has gone through it."""

    def __init__(self, processor: EventProcessor, expected: int) -> None:
        self.offsets = processor.offsets
        self._processor = processor
        self._left = expected
        self._began: float | None = None
        self.done = asyncio.Event()
        self.seconds = 0.0

    async def process(self, records: Sequence[Record], stop: asyncio.Event) -> None:
        self._began = self._began or time.perf_counter()
        await self._processor.process(records, stop)
        self._left -= len(records)
        if self._left == 0:
            self.seconds = time.perf_counter() - self._began
            self.done.set()

    async def release(self, partitions: Sequence[Partition]) -> None:
        await self._processor.release(partitions)


@asynccontextmanager
async def prepared(count: int, traceparent: Callable[[], str] = str) -> AsyncIterator[Workbench]:
    """Leaves no database and no topic behind. `traceparent` returns that of the next event, or ""."""
    name = f"benchmark_{uuid4().hex[:8]}"
    topic = redrive_topic("orders", name)  # one on which events of `orders` may be
    addresses, service = running(), load(SERVICE)
    password = current().passwords(["postgres"])["postgres"]
    server = make_url(addresses.databases[SERVICE]).set(
        username="postgres", password=password, database="postgres"
    )
    registry = Registry(addresses.registry_url)
    admin = AdminClient({"bootstrap.servers": addresses.kafka})
    await administer(server, f"CREATE DATABASE {name}")
    url = server.set(database=name)
    database = Database(url.render_as_string(hide_password=False))
    try:
        await migrate(service, url.render_as_string(hide_password=False))
        admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(10)
        events = [(uuid7(), order_placed(n)) for n in range(count)]
        schema_id = await registry.schema_id(OrderPlaced, OrderPlaced.SCHEMA_VERSION)
        fill(addresses.kafka, topic, events, schema_id, traceparent)
        yield Workbench(addresses, service, database, registry, url, topic, events)
    finally:
        await registry.aclose()
        await database.close()
        admin.delete_topics([topic])[topic].result(10)
        await administer(server, f"DROP DATABASE {name} WITH (FORCE)")


def order_placed(number: int) -> OrderPlaced:
    return OrderPlaced(
        order_id=str(uuid7()),
        order_version=1,
        customer_id=f"customer-{number % 500}",
        currency="EUR",
        total_cents=2980,
        payment_method="card",
        card_token="tok_visa",
        lines=(OrderLine(product_id="mug", quantity=2, unit_price_cents=1490),),
        occurred_at=1_700_000_000_000 + number,
    )


def sampled(one_in: int) -> Callable[[], str]:
    """Returns what makes traceparents of which one in so many is flagged as sampled."""
    numbers = count()
    return lambda: (
        f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-{'00' if next(numbers) % one_in else '01'}"
    )


def fill(
    kafka: str,
    topic: str,
    events: Sequence[tuple[UUID, OrderPlaced]],
    schema_id: int,
    traceparent: Callable[[], str] = str,
) -> None:
    producer = Producer(
        {"bootstrap.servers": kafka, "linger.ms": 20, "queue.buffering.max.messages": 1_000_000}
    )
    for event_id, event in events:
        headers: list[tuple[str, str | bytes | None]] = [("ce_id", str(event_id)), ("ce_type", event.NAME)]
        if context := traceparent():
            headers.append(("traceparent", context))
        producer.produce(topic, frame(schema_id, encode(event)), event.key, headers=headers)
    assert producer.flush(60) == 0
