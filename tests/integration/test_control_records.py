"""Transactions of other producers: aborted records are not applied, and transaction markers are no lag and no gap."""

import asyncio
from collections.abc import Iterator
from itertools import count

import pytest
from aiokafka import AIOKafkaConsumer
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient

from chassis.config import Broker, Settings
from chassis.consumer.kafka import client_settings
from fanout.kafka_reader import reader, record_ends
from fanout.lag.measure import LagMeter
from fanout.lag.verdicts import GroupLag
from fanout.replay.plan import Group, of_effects, of_read_model, without_control_records
from fanout.replay.replay import wait_until_read
from tests.integration.conftest import NewTopic
from tests.support.raw_records import send_with_undecodable_header_name

_numbers = count(1)


@pytest.fixture
def topic(new_topic: NewTopic) -> str:
    return new_topic()


@pytest.fixture
def consumer(kafka: Broker) -> Iterator[Consumer]:
    with reader(kafka) as consumer:
        yield consumer


def measure(kafka: Broker, topic: str) -> GroupLag:
    """Measures the group that is named as the topic."""
    meter = LagMeter(kafka, {})
    _, [lag] = meter.measure_kafka({(topic, topic)}, {}, with_outside=False)
    return lag


def transactional(kafka: Broker, topic: str) -> Producer:
    name = {"transactional.id": f"{topic}-{next(_numbers)}", "log_level": 0}
    producer = Producer({**kafka.for_librdkafka(), **name})
    producer.init_transactions()
    return producer


def write(producer: Producer, topic: str, *values: str, commit: bool) -> None:
    """Writes the values to partition 0 in one transaction."""
    producer.begin_transaction()
    for value in values:
        producer.produce(topic, value.encode(), partition=0)
    producer.flush()
    producer.commit_transaction() if commit else producer.abort_transaction()


async def read_all(kafka: Broker, topic: str, until: str) -> list[str]:
    """Returns what a worker's client delivers up to the value `until`, and commits its offset as a worker does."""
    settings = Settings(database_url="unused", kafka=kafka.address)
    client = AIOKafkaConsumer(topic, **client_settings(topic, settings) | {"auto_offset_reset": "earliest"})
    await client.start()
    try:
        values: list[str] = []
        async with asyncio.timeout(20):
            while until not in values:
                record = await client.getone()
                values.append(record.value.decode())
        await client.commit()
        return values
    finally:
        await client.stop()


async def test_aborted_records_are_not_read(kafka: Broker, topic: str) -> None:
    producer = transactional(kafka, topic)
    write(producer, topic, "one", commit=True)
    write(producer, topic, "two", "three", commit=False)
    write(producer, topic, "four", commit=True)
    assert await read_all(kafka, topic, until="four") == ["one", "four"]


async def test_a_marker_at_the_end_of_a_partition_is_no_lag(kafka: Broker, topic: str) -> None:
    producer = transactional(kafka, topic)
    write(producer, topic, "one", "two", commit=True)
    before = measure(kafka, topic)
    await read_all(kafka, topic, until="two")
    write(producer, topic, *(str(n) for n in range(40)), commit=False)
    after = measure(kafka, topic)
    assert (before.messages, after.messages, after.seconds) == (2, 0, None)


async def test_a_replay_does_not_wait_for_transaction_markers(
    kafka: Broker, topic: str, consumer: Consumer
) -> None:
    producer = transactional(kafka, topic)
    write(producer, topic, "one", "two", commit=True)
    await read_all(kafka, topic, until="two")
    write(producer, topic, "three", commit=False)
    admin, group = AdminClient(kafka.for_librdkafka()), Group(topic, [topic])
    for plan in (of_effects(admin, group), of_read_model(admin, group)):
        plan = without_control_records(consumer, plan)
        assert plan.total == 2
        async with asyncio.timeout(5):
            assert (await wait_until_read(admin, topic, plan)).done == 2


async def test_a_replay_does_not_wait_for_an_open_transaction(
    kafka: Broker, topic: str, consumer: Consumer
) -> None:
    producer = transactional(kafka, topic)
    write(producer, topic, "one", commit=True)
    producer.begin_transaction()
    producer.produce(topic, b"two", partition=0)
    producer.flush()
    try:
        plan = of_read_model(AdminClient(kafka.for_librdkafka()), Group(topic, [topic]))
        assert without_control_records(consumer, plan).total == 1
    finally:
        producer.abort_transaction()


def test_the_last_record_is_found_before_many_aborted_ones(
    kafka: Broker, topic: str, consumer: Consumer
) -> None:
    producer = transactional(kafka, topic)
    write(producer, topic, "one", commit=True)
    for _ in range(3):
        write(producer, topic, *(str(n) for n in range(200)), commit=False)
    spans = {(topic, 0): (0, 605), (topic, 1): (0, 0)}
    assert record_ends(consumer, spans) == {(topic, 0): 1, (topic, 1): 0}
    assert record_ends(consumer, {(topic, 0): (2, 605)}) == {(topic, 0): 2}


async def test_the_age_of_a_record_with_unreadable_headers_is_measured(kafka: Broker, topic: str) -> None:
    await send_with_undecodable_header_name(kafka, topic, b"one")
    lag = measure(kafka, topic)
    [unreadable] = [each for each in lag.partitions if not each.is_readable]
    assert (lag.messages, unreadable.place, unreadable.offset) == (1, (topic, 0), 0)
    assert lag.seconds is not None and lag.seconds < 60
