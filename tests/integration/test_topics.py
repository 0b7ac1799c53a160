"""Topics accept and refuse records on the real broker: codecs, sizes, and clocks of producers."""

import time
from collections.abc import Mapping

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from confluent_kafka import KafkaError, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic as Wanted
from sqlalchemy import select

from chassis.config import Broker
from chassis.consumer.parking import Failed, park
from chassis.events.record import Record
from chassis.events.topics import dead_letter_topic, redrive_topic
from chassis.outbox.producer_config import CONFIG
from chassis.outbox.table import load_headers, outbox
from fanout.provision.topics import LARGEST_BYTES, PARTITIONS, ensure, wanted
from tests.integration.conftest import NewDatabase, NewTopic

CODECS = ("gzip", "lz4", "snappy", "zstd")
A_DAY_MS = 24 * 60 * 60 * 1000
MIB = 2**20


@pytest.fixture
def admin(kafka: Broker) -> AdminClient:
    return AdminClient(kafka.for_librdkafka())


def send(kafka: Broker, topic: str, value: bytes, timestamp_ms: int = 0, codec: str = "none") -> str | None:
    """Returns the name of the error with which the broker refused it, None if it took it."""
    answers: list[KafkaError | None] = []
    large = {"message.max.bytes": 128 * MIB, "compression.type": codec}
    producer = Producer({**kafka.for_librdkafka(), **large, "log_level": 0})
    producer.produce(topic, value, timestamp=timestamp_ms, on_delivery=lambda error, _: answers.append(error))
    assert producer.flush(30) == 0
    [error] = answers
    return None if error is None else error.name()


def settings_of(admin: AdminClient, topic: str) -> Mapping[str, str]:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    described = admin.describe_configs([resource])[resource].result()
    return {name: entry.value for name, entry in described.items()}


async def first_record(kafka: Broker, topic: str, monkeypatch: pytest.MonkeyPatch) -> tuple[bytes, int]:
    """Value and timestamp of the topic's only record, read by a consumer that has no codec at all."""
    for codec in CODECS:
        monkeypatch.setattr(f"aiokafka.codec.has_{codec}", lambda: False)
    consumer = AIOKafkaConsumer(**kafka.for_aiokafka(), auto_offset_reset="earliest")
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        record = await consumer.getone()
        return record.value, record.timestamp
    finally:
        await consumer.stop()


@pytest.mark.parametrize("codec", CODECS)
async def test_a_compressed_record_is_read_by_a_consumer_without_that_codec(
    codec: str, kafka: Broker, new_topic: NewTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, value = new_topic(), b"a card, a card, " * 200
    assert send(kafka, topic, value, codec=codec) is None
    assert (await first_record(kafka, topic, monkeypatch))[0] == value


@pytest.mark.parametrize("size", [4 * MIB, 60_000_000], ids=["4 MiB", "60 MB"])
@pytest.mark.parametrize("codec", CODECS)
def test_a_record_that_is_small_compressed_and_large_unpacked_is_refused(
    codec: str, size: int, kafka: Broker, new_topic: NewTopic
) -> None:
    topic = new_topic("fraud")
    for name in (topic, dead_letter_topic(topic, "fraud"), redrive_topic(topic, "fraud")):
        assert send(kafka, name, bytes(size), codec=codec) == "MSG_SIZE_TOO_LARGE"


async def test_a_clock_that_is_a_day_ahead_stops_no_producer(
    kafka: Broker, new_topic: NewTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = new_topic("fraud")
    now_ms = time.time_ns() // 1_000_000
    for name in (topic, dead_letter_topic(topic, "fraud"), redrive_topic(topic, "fraud")):
        assert send(kafka, name, b"early", timestamp_ms=now_ms + A_DAY_MS) is None
    _, timestamp_ms = await first_record(kafka, topic, monkeypatch)
    assert abs(timestamp_ms - now_ms) < 60_000


async def test_the_largest_event_fits_with_the_headers_of_a_dead_letter_into_its_topic(
    kafka: Broker, new_topic: NewTopic, new_database: NewDatabase
) -> None:
    topic = new_topic("fraud")
    sizes = range(LARGEST_BYTES, LARGEST_BYTES - 400, -10)
    largest = next(value for value in map(bytes, sizes) if send(kafka, topic, value) is None)
    record = Record(topic, 5, 2**40, 0, b"o-1", largest, [])
    database = await new_database("fraud")
    async with database.transaction() as db:
        await park(db, "fraud", [Failed(record, RuntimeError("\N{PILE OF POO}" * 600), attempts=10_000)])
        dead_letter = (await db.execute(select(outbox))).one()
    answers: list[KafkaError | None] = []
    producer = Producer(CONFIG | kafka.for_librdkafka() | {"log_level": 0})
    producer.produce(
        dead_letter.topic,
        dead_letter.payload,
        dead_letter.key,
        headers=[*load_headers(dead_letter.headers)],
        on_delivery=lambda error, _: answers.append(error),
    )
    assert producer.flush(20) == 0
    assert answers == [None]


def test_set_up_gives_existing_topics_their_settings_and_reports_it_once(
    admin: AdminClient, new_topic: NewTopic
) -> None:
    """As a stack of an earlier version has them."""
    topic = f"{new_topic()}-old"
    old = {"retention.ms": "604800000", "max.message.bytes": "1310720", "segment.ms": "86400000"}
    admin.create_topics([Wanted(topic, 1, 1, config=old)])[topic].result()
    try:
        assert ensure(admin, wanted({topic}, [])) == [
            f"topic {topic} has compression.type=uncompressed, it was producer",
            f"topic {topic} has message.timestamp.type=LogAppendTime, it was CreateTime",
        ]
        found = settings_of(admin, topic)
        assert (found["compression.type"], found["message.timestamp.type"]) == (
            "uncompressed",
            "LogAppendTime",
        )
        assert ensure(admin, wanted({topic}, [])) == []
    finally:
        admin.delete_topics([topic])[topic].result()
