"""A consumer session on a real Kafka: unreadable batches, rebalances, and the offset from which it reads."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, suppress

import pytest
from confluent_kafka import TopicPartition
from sqlalchemy import text

from chassis.consumer import held
from chassis.consumer.batch import EventProcessor
from chassis.consumer.offsets import Offsets
from chassis.consumer.parking import parked
from chassis.database import Database
from chassis.events.record import Record
from fanout.databases import held_partitions
from schemas import OrderConfirmed
from tests.support.kafka_topics import PARTITIONS, Topic, kafka_address, new_topic, read_past, running, until
from tests.support.recording_service import RecordingService, Schemas, confirmed, noted, rows

ZEROS = 20 * 2**20


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
        monkeypatch.setattr(OrderConfirmed, "TOPIC", made.name)
        yield made


@pytest.fixture
def processor(recorder: RecordingService, database: Database) -> EventProcessor:
    return EventProcessor(recorder.service, database, Schemas())


async def applied(recorder: RecordingService, database: Database, *order_ids: str) -> None:
    async with asyncio.timeout(20):
        while {order_id for order_id, _ in await noted(recorder, database)} != set(order_ids):
            await asyncio.sleep(0.05)


async def test_a_header_whose_name_is_not_utf_8_is_parked_and_its_neighbours_are_applied(
    recorder: RecordingService, database: Database, topic: Topic, processor: EventProcessor
) -> None:
    topic.send(0, confirmed("before", 0))
    await topic.send_with_header(0, confirmed("bad", 1), b"\xff\xfe")
    topic.send(0, confirmed("behind", 2))
    topic.send(1, confirmed("beside", 0))
    async with running(topic.consumer(processor)):
        await applied(recorder, database, "before", "behind", "beside")
    [kept] = await rows(database, parked)
    assert (kept.partition, kept.kafka_offset, kept.key) == (0, 1, b"bad")
    assert "UTF-8" in kept.error_message


async def test_a_batch_that_cannot_be_read_holds_its_own_partition_and_is_named(
    recorder: RecordingService,
    database: Database,
    topic: Topic,
    processor: EventProcessor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Twenty mebibytes of zeros in a small gzip, which retention deletes later."""
    monkeypatch.setattr("chassis.consumer.held.RETRY_SECONDS", 0.5)
    topic.send(0, confirmed("before", 0))
    bomb = Record("", 0, 1, 0, b"bomb", bytes(ZEROS), [])
    small: dict[str, str | int] = {"compression.type": "gzip", "message.max.bytes": 2 * ZEROS}
    topic.send(0, bomb, **small)
    topic.send(0, confirmed("behind", 2))
    topic.send(1, confirmed("beside", 0))
    consumer = topic.consumer(processor)
    async with running(consumer):
        await applied(recorder, database, "before", "beside")
        await until(lambda: consumer.held)
        assert f"{topic.name}[0] at offset 1" in consumer.held[0] and "8388608" in consumer.held[0]
        [row] = await rows(database, held.held_partitions)
        assert (row.topic, row.partition, row.kafka_offset) == (topic.name, 0, 1)
        [sentence] = await held_partitions(
            {"fraud": database.engine.url.render_as_string(hide_password=False)}
        )
        assert f"{topic.name} cannot read {topic.name}[0] at offset 1" in sentence
        topic.send(2, confirmed("later", 0))
        await applied(recorder, database, "before", "beside", "later")
        assert consumer.is_ready

        topic.admin.delete_records([TopicPartition(topic.name, 0, 2)])
        await applied(recorder, database, "before", "beside", "later", "behind")
        await until(lambda: not consumer.held)
    assert await rows(database, held.held_partitions) == await rows(database, parked) == []


async def test_records_whose_effects_the_database_has_lost_are_read_again_though_kafka_has_their_offset(
    recorder: RecordingService, database: Database, topic: Topic, processor: EventProcessor
) -> None:
    orders = [f"order-{n}" for n in range(10)]
    topic.send(0, *(confirmed(order_id, n) for n, order_id in enumerate(orders)))
    async with running(topic.consumer(processor)):
        await applied(recorder, database, *orders)
    async with database.transaction() as db:  # what a restore of an older backup does
        for table in ("notes", "inbox", "outbox", "consumer_offsets"):
            await db.execute(text(f"DELETE FROM {table}"))
        await db.execute(
            text("INSERT INTO consumer_offsets VALUES (:group, :topic, 0, 4, 0, 0, 0, 0)"),
            {"group": topic.name, "topic": topic.name},
        )
    async with running(topic.consumer(processor)):
        await applied(recorder, database, *orders[4:])


class SlowProcessor:
    """Processes until `go_on` is set, and sets `begun` when it has begun."""

    def __init__(self) -> None:
        self.offsets = Offsets("")
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()

    async def process(self, records: Sequence[Record], stop: asyncio.Event) -> None:
        self.begun.set()
        await self.go_on.wait()

    async def release(self, partitions: Sequence[tuple[str, int]]) -> None: ...


async def test_a_sigterm_in_the_middle_of_a_rebalance_is_a_clean_leave(topic: Topic) -> None:
    """Both release the same partitions; Kafka does not have to wait until the member's session expires."""
    topic.send(0, confirmed("slow", 0))
    slow, stop = SlowProcessor(), asyncio.Event()
    leaving, staying = topic.consumer(slow), topic.consumer(SlowProcessor())
    left = asyncio.create_task(leaving.run(stop))
    await asyncio.wait_for(slow.begun.wait(), 20)
    session = leaving._session
    assert session is not None
    async with running(staying):
        await until(lambda: session._assigned._releasing.locked())
        stop.set()
        await asyncio.sleep(0.2)
        slow.go_on.set()
        await asyncio.wait_for(left, 8)
        assert await asyncio.to_thread(topic.members) == 1


async def test_records_that_arrive_before_their_queue_is_open_are_not_skipped(
    recorder: RecordingService,
    database: Database,
    topic: Topic,
    processor: EventProcessor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A poll that began before a rebalance ends after it, while a locked table delays the opening of the queues."""
    monkeypatch.setattr("chassis.consumer.session.POLL_MS", 30_000)
    orders = [f"order-{number}" for number in range(30)]
    topic.send(0, confirmed("first", 0))
    member = topic.consumer(processor)
    async with running(member):
        await applied(recorder, database, "first")
        session = member._session
        assert session is not None
        before = session._assigned._revoked
        async with AsyncExitStack() as others:
            async with database.transaction() as db:
                await db.execute(text("LOCK TABLE ignored_events"))
                await others.enter_async_context(running(topic.consumer(processor)))
                await until(lambda: session._assigned._revoked is not before)
                for number, order_id in enumerate(orders):
                    topic.send(number % PARTITIONS, confirmed(order_id, number))
                with suppress(TimeoutError):
                    await until(lambda: read_past(session) > 1, seconds=2)
            await applied(recorder, database, "first", *orders)
