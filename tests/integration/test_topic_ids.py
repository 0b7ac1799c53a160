"""A consumer on a real Kafka: its topic is made anew, its events are deleted, its database is restored."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.cimpl import NewTopic
from prometheus_client import REGISTRY
from sqlalchemy import text
from structlog.testing import capture_logs

from chassis.config import Broker
from chassis.consumer.batch import EventProcessor
from chassis.consumer.kafka import Consumer
from chassis.consumer.offsets import consumer_offsets
from chassis.consumer.parking import parked
from chassis.consumer.session import ConsumerSession
from chassis.database import Database
from chassis.events.kafka_topics import KafkaTopics
from chassis.events.record import Record
from chassis.events.topic_ids import topic_ids
from fanout.local.ports import free_port
from schemas import OrderCancelled, OrderConfirmed
from tests.integration.conftest import NewDatabase
from tests.support.kafka_topics import PARTITIONS, Topic, kafka_address, new_topic, read_past, running, until
from tests.support.recording_service import RecordingService, Schemas, cancelled, confirmed, noted, rows
from tests.support.stack import REPOSITORY

pytestmark = pytest.mark.usefixtures("soon")


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chassis.consumer.assignment.WATCH_SECONDS", 0.5)


@pytest.fixture
async def topic(
    request: pytest.FixtureRequest,
    database: Database,
    recorder: RecordingService,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Topic]:
    """Returns one of this test's own, to which the events of the recorder belong."""
    async with new_topic(kafka_address(request), database) as made:
        recorder.service.name = made.name
        for event_type in (OrderConfirmed, OrderCancelled):
            monkeypatch.setattr(event_type, "TOPIC", made.name)
        yield made


@pytest.fixture
def processor(recorder: RecordingService, database: Database) -> EventProcessor:
    return EventProcessor(recorder.service, database, Schemas())


def orders(first: int, last: int) -> list[str]:
    return [f"order-{number}" for number in range(first, last + 1)]


def events(order_ids: Sequence[str]) -> list[Record]:
    return [confirmed(order_id, number) for number, order_id in enumerate(order_ids)]


async def applied(recorder: RecordingService, database: Database, order_ids: Sequence[str]) -> None:
    """Returns when each of these orders is noted once, and no other."""
    async with asyncio.timeout(30):
        while sorted(await order_notes(recorder, database)) != sorted(order_ids):
            await asyncio.sleep(0.05)


async def order_notes(recorder: RecordingService, database: Database) -> list[str]:
    return [order_id for order_id, _ in await noted(recorder, database)]


async def offsets(database: Database, partition: int = 0) -> Any:
    [row] = [row for row in await rows(database, consumer_offsets) if row.partition == partition]
    return row


def committed(topic: Topic) -> dict[int, int]:
    """Returns the offsets that the group has committed to Kafka, by partition, without those at the beginning."""
    asked = topic.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(topic.name)])
    return {at.partition: at.offset for at in asked[topic.name].result(10).topic_partitions if at.offset > 0}


def delete_before(topic: Topic, offset: int, partition: int = 0) -> None:
    [deleted] = topic.admin.delete_records([TopicPartition(topic.name, partition, offset)]).values()
    deleted.result(10)


async def make_anew(topic: Topic) -> None:
    [deleted] = topic.admin.delete_topics([topic.name]).values()
    deleted.result(10)
    async with asyncio.timeout(20):
        while True:
            [made] = topic.admin.create_topics([NewTopic(topic.name, PARTITIONS, 1)]).values()
            if made.exception(10) is None:
                return
            await asyncio.sleep(0.02)


def metric(topic: Topic, partition: int = 0) -> float | None:
    labels = {"group": topic.name, "topic": topic.name, "partition": str(partition)}
    return REGISTRY.get_sample_value("kafka_consumergroup_group_messages_lost", labels)


async def test_events_that_kafka_deleted_before_they_were_read_are_counted_at_once(
    recorder: RecordingService, database: Database, topic: Topic, processor: EventProcessor
) -> None:
    topic.send(0, confirmed("read", 0))
    async with running(topic.consumer(processor)):
        await applied(recorder, database, ["read"])
        assert metric(topic) == 0
    topic.send(0, *events(orders(1, 30)))
    delete_before(topic, 31)
    with capture_logs() as lines:
        async with running(topic.consumer(processor)), asyncio.timeout(20):
            while metric(topic) != 30:
                await asyncio.sleep(0.05)
    row = await offsets(database)
    assert (row.next_offset, row.lost, row.applied) == (31, 30, 1)
    [said] = [line for line in lines if line["event"] == "messages_lost"]
    assert (said["topic"], said["partition"], said["from"], said["to"]) == (topic.name, 0, 1, 31)
    assert said["messages"] == 30 and "before they were read" in said["reason"]

    with capture_logs() as lines:
        async with running(topic.consumer(processor)), asyncio.timeout(20):
            while metric(topic) != 30:
                await asyncio.sleep(0.05)
    assert (await offsets(database)).lost == 30, "counted once"
    assert not [line for line in lines if line["event"] == "messages_lost"]


async def test_a_new_consumer_has_lost_nothing_of_what_was_deleted_before(
    recorder: RecordingService, database: Database, topic: Topic, processor: EventProcessor
) -> None:
    topic.send(0, *events(orders(1, 5)))
    topic.send(1, *events(orders(6, 9)))
    delete_before(topic, 3)
    async with running(topic.consumer(processor), topic.consumer(processor)):
        await applied(recorder, database, orders(4, 9))
    assert [row.lost for row in await rows(database, consumer_offsets)] == [0, 0, 0]


async def test_what_is_deleted_while_a_consumer_is_slow_is_lost_and_what_it_has_in_hand_is_not(
    recorder: RecordingService,
    database: Database,
    topic: Topic,
    processor: EventProcessor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chassis.consumer.assignment.QUEUED_BYTES", 2**19)
    large = [("padding", bytes(200_000))]
    sent = [
        Record("", 0, 0, 0, each.key, each.value, [*each.headers, *large]) for each in events(orders(0, 29))
    ]
    topic.send(0, *sent, **{"enable.idempotence": "true"})
    gated, finish, is_finishing = Gated(processor), ConsumerSession._finish, asyncio.Event()

    async def finishing(self: ConsumerSession, partitions: Iterable[Any]) -> None:
        is_finishing.set()
        await finish(self, partitions)

    monkeypatch.setattr(ConsumerSession, "_finish", finishing)
    consumer = topic.consumer(gated)
    async with running(consumer):
        await asyncio.wait_for(gated.begun.wait(), 20)
        in_hand = await until_full(consumer)
        delete_before(topic, 30)
        monkeypatch.setattr("chassis.consumer.assignment.QUEUED_BYTES", 2**23)
        await asyncio.wait_for(is_finishing.wait(), 20)
        gated.go_on.set()
        async with asyncio.timeout(30):
            while not (row := await offsets(database)).lost:
                await asyncio.sleep(0.05)
    assert in_hand <= row.applied < 30 and row.next_offset == 30
    assert row.applied + row.lost == 30
    assert await order_notes(recorder, database) == orders(0, row.applied - 1)


async def until_full(consumer: Consumer) -> int:
    """Returns how many records the client has handed over, once it hands over no more: the queue has no room."""
    number = -1
    while number != (now := 0 if consumer._session is None else read_past(consumer._session)) or not now:
        number = now
        await asyncio.sleep(0.5)
    return number


class Gated:
    """Processes as another processor does, once `go_on` is set."""

    def __init__(self, processor: EventProcessor) -> None:
        self.offsets, self._processor = processor.offsets, processor
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()

    async def process(self, records: Sequence[Record], stop: asyncio.Event) -> None:
        self.begun.set()
        await self.go_on.wait()
        await self._processor.process(records, stop)

    async def release(self, partitions: Sequence[tuple[str, int]]) -> None:
        await self._processor.release(partitions)


async def test_a_topic_that_was_made_anew_is_read_from_its_beginning_and_poison_at_an_old_offset_is_parked(
    recorder: RecordingService, database: Database, topic: Topic, processor: EventProcessor
) -> None:
    bad = Record("", 0, 0, 0, b"bad", b"no event", confirmed("bad", 0).headers[:1])
    topic.send(0, *events(orders(0, 0)), bad, *events(orders(1, 3)))
    async with running(topic.consumer(processor)):
        await applied(recorder, database, orders(0, 3))
    before = await offsets(database)
    await make_anew(topic)
    topic.send(0, *events(orders(4, 4)), bad)
    with capture_logs() as lines:
        async with running(topic.consumer(processor)):
            await applied(recorder, database, orders(0, 4))
            async with asyncio.timeout(20):
                while len(await rows(database, parked)) < 2:
                    await asyncio.sleep(0.05)
    assert [(row.kafka_offset, row.key) for row in await rows(database, parked)] == [(1, b"bad"), (1, b"bad")]
    after = await offsets(database)
    assert (after.next_offset, after.lost, after.applied, after.parked) == (2, 0, 5, 2)
    [now] = (await KafkaTopics(Broker(topic.kafka)).ids([topic.name])).values()
    assert before.topic_id != after.topic_id == now
    seen = {row.topic_id for row in await rows(database, topic_ids) if row.topic == topic.name}
    assert seen == {before.topic_id, now}
    assert [line["partition"] for line in lines if line["event"] == "topic_made_anew"] == [0, 1, 2]


async def test_a_topic_that_is_made_anew_and_longer_while_it_is_read_loses_nothing(
    recorder: RecordingService, database: Database, topic: Topic, processor: EventProcessor
) -> None:
    topic.send(0, *events(orders(0, 4)))
    async with running(topic.consumer(processor)):
        await applied(recorder, database, orders(0, 4))
        await make_anew(topic)
        topic.send(0, *events(orders(5, 24)))
        topic.send(1, *events(orders(25, 26)))
        await applied(recorder, database, orders(0, 26))
    assert (await offsets(database)).next_offset == 20
    assert [row.lost for row in await rows(database, consumer_offsets)] == [0, 0, 0]


async def test_an_offset_beyond_the_end_is_not_waited_for(
    recorder: RecordingService, database: Database, topic: Topic, processor: EventProcessor
) -> None:
    """Kafka itself has lost the last records, in a power failure, and then taken new ones in their place."""
    topic.send(0, *events(orders(0, 2)))
    async with running(topic.consumer(processor)):
        await applied(recorder, database, orders(0, 2))
    async with database.transaction() as db:
        await db.execute(text("UPDATE consumer_offsets SET next_offset = 90 WHERE partition = 0"))
    at_90 = ConsumerGroupTopicPartitions(topic.name, [TopicPartition(topic.name, 0, 90)])
    topic.admin.alter_consumer_group_offsets([at_90])[topic.name].result()
    topic.send(0, *events(orders(3, 4)))
    async with running(topic.consumer(processor)):
        await applied(recorder, database, orders(0, 4))
    assert (await offsets(database)).next_offset == 5


STATE = ("inbox", "outbox", "notes", "consumer_offsets")


async def back_up(database: Database) -> None:
    async with database.transaction() as db:
        for table in STATE:
            await db.execute(text(f"CREATE TABLE saved_{table} AS TABLE {table}"))


async def restore(database: Database) -> None:
    """Makes the tables what they were at the time of the backup, under a worker that runs."""
    async with database.transaction() as db:
        for table in STATE:
            await db.execute(text(f"DELETE FROM {table}"))
            await db.execute(text(f"INSERT INTO {table} OVERRIDING SYSTEM VALUE TABLE saved_{table}"))


@pytest.mark.parametrize("then", ["nothing more comes", "the next event comes at once"])
async def test_a_database_that_is_restored_under_a_running_worker_gets_everything_again(
    recorder: RecordingService, database: Database, topic: Topic, processor: EventProcessor, then: str
) -> None:
    topic.send(0, *events(orders(0, 3)))
    topic.send(1, *events(orders(4, 5)))
    async with running(topic.consumer(processor)):
        await applied(recorder, database, orders(0, 5))
        await back_up(database)
        topic.send(0, *events(orders(6, 9)))
        topic.send(1, *events(orders(10, 11)))
        await applied(recorder, database, orders(0, 11))
        await until(lambda: committed(topic) == {0: 8, 1: 4})
        with capture_logs() as lines:
            await restore(database)
            if then == "the next event comes at once":
                topic.send(0, *events(orders(12, 12)))
                await applied(recorder, database, orders(0, 12))
            else:
                await applied(recorder, database, orders(0, 11))
    assert [line["error"] for line in lines if line["event"] == "consumer_rebuilt"]
    row = await offsets(database)
    assert (row.applied, row.duplicates, row.lost) == (row.next_offset, 0, 0)


async def test_an_offset_that_was_only_skipped_to_is_stored_and_is_no_restore(
    recorder: RecordingService, database: Database, topic: Topic, processor: EventProcessor
) -> None:
    del recorder.service.handlers[OrderCancelled]
    processor = EventProcessor(recorder.service, database, Schemas())
    topic.send(0, *events(orders(0, 0)))
    with capture_logs() as lines:
        async with running(topic.consumer(processor)), asyncio.timeout(20):
            await applied(recorder, database, orders(0, 0))
            topic.send(0, *(cancelled(order_id, 0) for order_id in orders(1, 9)))
            while (await offsets(database)).next_offset < 10:
                await asyncio.sleep(0.05)
            topic.send(0, *events(orders(10, 10)))
            await applied(recorder, database, ["order-0", "order-10"])
    assert not [line for line in lines if line["event"] == "consumer_rebuilt"]
    assert (await offsets(database)).received == 2


async def test_a_worker_process_logs_counts_and_exposes_what_was_deleted_while_it_was_stopped(
    new_database: NewDatabase, topic: Topic, tmp_path: Path
) -> None:
    database, log = await new_database("notifications"), tmp_path / "log"

    async def opened() -> list[Any]:
        return [(row.partition, row.next_offset, row.lost) for row in await rows(database, consumer_offsets)]

    async with worker(topic, database, log), asyncio.timeout(30):
        while len(await opened()) < PARTITIONS:
            await asyncio.sleep(0.1)
    topic.send(2, *events(orders(1, 30)))
    delete_before(topic, 30, partition=2)
    async with worker(topic, database, log) as url, asyncio.timeout(30):
        while (2, 30, 30) not in await opened():
            await asyncio.sleep(0.1)
        async with httpx.AsyncClient() as client:
            metrics = (await client.get(f"{url}/metrics")).text
    sample = (
        f'kafka_consumergroup_group_messages_lost{{group="{topic.name}",partition="2",topic="{topic.name}"}}'
    )
    assert f"{sample} 30.0" in metrics
    [said] = [
        line for line in map(json.loads, log.read_text().splitlines()) if line["event"] == "messages_lost"
    ]
    assert (said["partition"], said["from"], said["to"], said["messages"]) == (2, 0, 30, 30)


@asynccontextmanager
async def worker(topic: Topic, database: Database, log: Path) -> AsyncIterator[str]:
    """Runs a worker process that writes its log there; gives the URL of its health page."""
    port = free_port()
    settings = {
        "FANOUT_DATABASE_URL": database.engine.url.render_as_string(hide_password=False),
        "FANOUT_KAFKA": topic.kafka,
        "FANOUT_REGISTRY_URL": "http://127.0.0.1:9",
        "FANOUT_HTTP_PORT": str(port),
    }
    command = [sys.executable, "-m", "tests.support.single_topic_worker", topic.name]
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: ASYNC220
            command, cwd=REPOSITORY, env=os.environ | settings, stdout=output, stderr=subprocess.DEVNULL
        )
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(15)
