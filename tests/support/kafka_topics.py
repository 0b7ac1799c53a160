"""Topics of a test's own on a real Kafka, and records in them as no client of ours would write them."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from chassis.config import Settings
from chassis.consumer.kafka import Consumer
from chassis.consumer.partition_queue import RecordProcessor
from chassis.consumer.positions import Positions
from chassis.consumer.session import ConsumerSession
from chassis.database import Database
from chassis.events.kafka_topics import KafkaTopics
from chassis.events.record import Record
from chassis.events.topics import redrive_topic

PARTITIONS = 3


def kafka_address(request: pytest.FixtureRequest) -> str:
    """`FANOUT_TEST_KAFKA` names one to use instead of a stack's."""
    return os.environ.get("FANOUT_TEST_KAFKA") or str(request.getfixturevalue("stack").addresses.kafka)


class Topic:
    """A topic and the group that reads it."""

    def __init__(self, kafka: str, name: str, database: Database) -> None:
        self.kafka, self.name, self.database = kafka, name, database
        self.admin = AdminClient({"bootstrap.servers": kafka})

    def consumer(self, processor: RecordProcessor, handled: Collection[str] = ()) -> Consumer:
        """Returns a new member of the group, which is called like the topic."""
        settings = Settings(database_url="", kafka=self.kafka)
        positions = Positions(self.name, self.database, handled, KafkaTopics(settings.broker))
        return Consumer(positions, [self.name], processor, settings)

    def send(self, partition: int, *records: Record, **settings: str | int) -> None:
        producer = Producer({"bootstrap.servers": self.kafka, **settings})
        for record in records:
            producer.produce(
                self.name, record.value, record.key, partition=partition, headers=list(record.headers)
            )
        assert producer.flush(20) == 0

    async def send_with_header(self, partition: int, record: Record, name: bytes) -> None:
        """Sends a record with one more header, whose name may be any bytes."""
        producer = AIOKafkaProducer(bootstrap_servers=self.kafka)
        await producer.start()
        try:
            batch = producer.create_batch()
            batch._builder = _DefaultRecordBatchBuilderPy(2, 0, 0, -1, -1, 0, 2**20)
            bad = Named("name")
            bad.sent_as = name
            headers = [*record.headers, (bad, b"")]
            assert batch.append(key=record.key, value=record.value, timestamp=None, headers=headers)
            await (await producer.send_batch(batch, self.name, partition=partition))
        finally:
            await producer.stop()

    def members(self) -> int:
        described = self.admin.describe_consumer_groups([self.name])[self.name].result(timeout=10)
        return len(described.members)


class Named(str):
    """A header's name that is sent as other bytes than its own."""

    sent_as: bytes

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return self.sent_as


@asynccontextmanager
async def new_topic(kafka: str, database: Database, partitions: int = PARTITIONS) -> AsyncIterator[Topic]:
    topic = Topic(kafka, f"test-{uuid4().hex[:8]}", database)
    names = [topic.name, redrive_topic(topic.name, topic.name)]
    for made in topic.admin.create_topics([NewTopic(name, partitions, 1) for name in names]).values():
        made.result(10)
    try:
        yield topic
    finally:
        for deleted in topic.admin.delete_topics(names).values():
            deleted.result(10)


@asynccontextmanager
async def running(*consumers: Consumer) -> AsyncIterator[None]:
    stop = asyncio.Event()
    tasks = [asyncio.create_task(consumer.run(stop)) for consumer in consumers]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*tasks)


async def until(condition: Callable[[], object], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


def read_past(session: ConsumerSession) -> int:
    """Returns how many records the client has handed over, of all its partitions."""
    states = session._client._subscription.subscription.assignment
    return sum(states.state_value(each)._position or 0 for each in states.tps)
