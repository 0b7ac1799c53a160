"""Events of a type that an earlier release ignored are applied once, after the upgrade, whatever happens meanwhile."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from json import dumps
from typing import Any

import pytest
from sqlalchemy import Row, insert, text

from chassis.consumer.batch import EventProcessor
from chassis.consumer.catch_up import CatchUp, IgnoredRange, first_offsets
from chassis.consumer.ignored import ignored_events
from chassis.consumer.inbox import inbox
from chassis.consumer.offsets import Offsets, consumer_offsets
from chassis.consumer.parking import parked
from chassis.database import Database
from chassis.events.avro import encode, frame
from chassis.events.record import EVENT_TYPES, Record
from chassis.retention import purges
from fanout.databases import ignored_events as ignored_sentences
from schemas import OrderCancelled, OrderConfirmed, OrderPlaced
from schemas.files import subject_named, versions_of
from tests.support.handling import example
from tests.support.kafka_topics import Topic, kafka_address, new_topic, running
from tests.support.recording_service import (
    RecordingService,
    Schemas,
    cancelled,
    confirmed,
    noted,
    record,
    rows,
)
from tests.support.registered import registered
from tests.support.stack import REPOSITORY, Stack, free_base
from tests.support.stack_fixtures import NewDatabase

HANDLED = ("OrderConfirmed", "OrderCancelled")
NOW = datetime.now(UTC)


@pytest.fixture
async def topic(
    request: pytest.FixtureRequest,
    database: Database,
    recorder: RecordingService,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Topic]:
    """One of this test's own, to which the events of the recorder belong."""
    async with new_topic(kafka_address(request), database, partitions=2) as made:
        recorder.service.name = made.name
        monkeypatch.setattr(OrderConfirmed, "TOPIC", made.name)
        monkeypatch.setattr(OrderCancelled, "TOPIC", made.name)
        yield made


@contextmanager
def earlier_release(recorder: RecordingService, *unknown: type[OrderCancelled]) -> Iterator[None]:
    """This release, without some event types."""
    handlers = dict(recorder.service.handlers)
    with pytest.MonkeyPatch.context() as patched:
        for event_type in unknown or (OrderCancelled,):
            patched.delitem(EVENT_TYPES, event_type.NAME)
            del recorder.service.handlers[event_type]
        yield
    recorder.service.handlers = handlers


def processor(recorder: RecordingService, database: Database) -> EventProcessor:
    return EventProcessor(recorder.service, database, Schemas())


async def until(condition: Callable[[], Awaitable[object]], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.05)


async def ignored_in(database: Database) -> int:
    return sum(int(row.events) for row in await rows(database, ignored_events))


async def applied(recorder: RecordingService, database: Database) -> list[tuple[str, str]]:
    return sorted(await noted(recorder, database))


def an_hour_of_events(partition: int) -> list[Record]:
    """Confirmed and cancelled orders in turn."""
    make = (confirmed, cancelled)
    return [make[n % 2](f"order-{partition}-{n}", n) for n in range(20)]


def everything(*partitions: int) -> list[tuple[str, str]]:
    kinds = ("confirmed", "cancelled")
    return sorted((f"order-{p}-{n}", kinds[n % 2]) for p in partitions for n in range(20))


async def ignore(recorder: RecordingService, database: Database, topic: Topic) -> None:
    """Lets the earlier release read both partitions."""
    for partition in (0, 1):
        topic.send(partition, *an_hour_of_events(partition))

    async def has_ignored() -> bool:
        return await ignored_in(database) == 20

    with earlier_release(recorder):
        async with running(topic.consumer(processor(recorder, database), ["OrderConfirmed"])):
            await until(has_ignored)
    assert await applied(recorder, database) == [each for each in everything(0, 1) if each[1] == "confirmed"]
    assert await rows(database, parked) == []


async def catch_up(recorder: RecordingService, database: Database, topic: Topic) -> None:
    async def is_done() -> bool:
        return len(await noted(recorder, database)) >= 40

    async with running(topic.consumer(processor(recorder, database), HANDLED)):
        await until(is_done)


async def assert_each_applied_once(recorder: RecordingService, database: Database) -> None:
    assert await applied(recorder, database) == everything(0, 1)
    assert await rows(database, ignored_events) == await rows(database, parked) == []
    offsets = await rows(database, consumer_offsets)
    assert [row.next_offset for row in offsets] == [20, 20]
    assert sum(row.applied for row in offsets) == len(await rows(database, inbox)) == 40


async def test_an_upgraded_consumer_catches_up_and_applies_each_event_once(
    recorder: RecordingService, database: Database, topic: Topic
) -> None:
    await ignore(recorder, database, topic)
    await catch_up(recorder, database, topic)
    await assert_each_applied_once(recorder, database)
    await catch_up(recorder, database, topic)
    await assert_each_applied_once(recorder, database)


@pytest.mark.parametrize("step", ["find", "begin"])
async def test_a_failure_at_each_step_of_the_catch_up_loses_nothing(
    recorder: RecordingService, database: Database, topic: Topic, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    await ignore(recorder, database, topic)
    work, failures = getattr(CatchUp, step), [RuntimeError("before"), RuntimeError("after")]

    async def failing(self: CatchUp, *arguments: Any) -> Any:
        if len(failures) == 2:
            raise failures.pop()
        found = await work(self, *arguments)
        if failures:
            raise failures.pop()
        return found

    monkeypatch.setattr(CatchUp, step, failing)
    await catch_up(recorder, database, topic)
    assert failures == []
    await assert_each_applied_once(recorder, database)


class Dead:
    """A processor that never ends, as that of a process that is killed at once."""

    def __init__(self) -> None:
        self.offsets = Offsets("")
        self.begun = asyncio.Event()

    async def process(self, records: Sequence[Record], stop: asyncio.Event) -> None:
        self.begun.set()
        await stop.wait()
        raise RuntimeError("killed")

    async def release(self, partitions: Sequence[tuple[str, int]]) -> None: ...


async def test_a_consumer_that_ends_before_its_first_batch_leaves_the_catch_up_to_the_next(
    recorder: RecordingService, database: Database, topic: Topic
) -> None:
    await ignore(recorder, database, topic)
    dead = Dead()
    async with running(topic.consumer(dead, HANDLED)):
        await asyncio.wait_for(dead.begun.wait(), 20)
    assert [row.next_offset for row in await rows(database, consumer_offsets)] == [1, 1], (
        "else they would seem lost"
    )
    await catch_up(recorder, database, topic)
    await assert_each_applied_once(recorder, database)


async def test_an_offset_that_a_slow_worker_of_the_earlier_release_stores_late_skips_nothing(
    recorder: RecordingService, database: Database, topic: Topic
) -> None:
    """Its batch commits after the catch-up began and before anything was applied; then the consumer ends."""
    await ignore(recorder, database, topic)
    dead = Dead()
    async with running(topic.consumer(dead, HANDLED)):
        await asyncio.wait_for(dead.begun.wait(), 20)
        await until_rows(database, 0)
        async with database.transaction() as db:
            await db.execute(text("UPDATE consumer_offsets SET next_offset = 20"))
    await catch_up(recorder, database, topic)
    await assert_each_applied_once(recorder, database)


async def until_rows(database: Database, number: int) -> None:
    async def are_there() -> bool:
        return len(await rows(database, ignored_events)) == number

    await until(are_there)


async def test_a_rollback_in_the_middle_ignores_again_and_the_next_upgrade_catches_up(
    recorder: RecordingService, database: Database, topic: Topic
) -> None:
    await ignore(recorder, database, topic)
    dead = Dead()
    async with running(topic.consumer(dead, HANDLED)):
        await asyncio.wait_for(dead.begun.wait(), 20)
    await until_rows(database, 0)

    with earlier_release(recorder):
        async with running(topic.consumer(processor(recorder, database), ["OrderConfirmed"])):
            await until_rows(database, 2)

            async def all_again() -> bool:
                return await ignored_in(database) == 20

            await until(all_again)
    await catch_up(recorder, database, topic)
    await assert_each_applied_once(recorder, database)


async def test_a_row_that_changes_while_the_catch_up_begins_is_kept(
    recorder: RecordingService, database: Database
) -> None:
    late = ignored_row("OrderCancelled")
    async with database.transaction() as db:
        await db.execute(insert(ignored_events), [late])
    handling = CatchUp("fraud", database, HANDLED)
    found = await handling.find([("orders", 0)])
    async with database.transaction() as db:
        await db.execute(text("UPDATE ignored_events SET updated_at = clock_timestamp()"))
    await handling.begin(found, first_offsets(found))
    assert len(await rows(database, ignored_events)) == 1
    found = await handling.find([("orders", 0)])
    await handling.begin(found, first_offsets(found))
    assert await rows(database, ignored_events) == []


def ignored_row(
    type_name: str, first_at: datetime = NOW, partition: int = 0, offset: int = 3
) -> dict[str, Any]:
    return {
        "consumer": "fraud",
        "topic": "orders",
        "partition": partition,
        "type": type_name,
        "first_offset": offset,
        "last_offset": offset + 5,
        "events": 4,
        "first_at": first_at,
        "last_at": first_at,
    }


async def found_by(database: Database, *handled: str) -> list[tuple[str, int, int]]:
    found = await CatchUp("fraud", database, handled).find([("orders", 0)])
    return [(each.type, each.partition[1], each.first_offset) for each in found]


async def test_only_assigned_partitions_and_handled_types_are_read_again(database: Database) -> None:
    types = [
        ("OrderCancelled", 0),
        ("OrderGifted", 0),
        ("OrderCancelled", 1),
        ("OrderPlaced", 0),
        ("OrderPlaced", 1),
    ]
    async with database.transaction() as db:
        await db.execute(insert(ignored_events), [ignored_row(name, NOW, number) for name, number in types])
    assert await found_by(database, "OrderCancelled") == [("OrderCancelled", 0, 3)]
    assert {(row.type, row.partition) for row in await rows(database, ignored_events)} == {
        ("OrderCancelled", 0),
        ("OrderGifted", 0),
        ("OrderCancelled", 1),
        ("OrderPlaced", 1),
    }, "a type that is known and has no handler is not ignored but skipped"


@pytest.mark.parametrize(
    ("purged_days_ago", "is_read_again"), [(None, True), (10, True), (4.5, False), (3, False)]
)
async def test_what_the_inbox_no_longer_guards_is_not_read_again_and_stays_visible(
    database: Database, purged_days_ago: float | None, is_read_again: bool
) -> None:
    async with database.transaction() as db:
        await db.execute(insert(ignored_events), [ignored_row("OrderCancelled", NOW - timedelta(days=5))])
        if purged_days_ago:
            before = NOW - timedelta(days=purged_days_ago + 1)
            await db.execute(insert(purges), [{"what": "inbox", "before": before, "purged": 9}])
    assert bool(await found_by(database, "OrderCancelled")) == is_read_again
    url = database.engine.url.render_as_string(hide_password=False)
    [sentence] = await ignored_sentences({"fraud": url})
    assert sentence.startswith("fraud has ignored 4 OrderCancelled of orders since ")


async def test_a_consumer_whose_inbox_was_purged_goes_on_from_where_it_is(
    recorder: RecordingService, database: Database, topic: Topic
) -> None:
    await ignore(recorder, database, topic)
    async with database.transaction() as db:
        await db.execute(insert(purges), [{"what": "inbox", "before": NOW, "purged": 20}])
        await db.execute(text("DELETE FROM inbox"))
    topic.send(0, cancelled("later", 20))

    async def has_gone_on() -> bool:
        return ("later", "cancelled") in await noted(recorder, database)

    async with running(topic.consumer(processor(recorder, database), HANDLED)):
        await until(has_gone_on)
    assert len(await noted(recorder, database)) == 21, "nothing was applied twice"
    assert len(await rows(database, ignored_events)) == 2


# Real processes of two releases, the newer one killed again and again.

ORDERS = 150
KILLS = 3


@contextmanager
def worker(topic: Topic, registry_url: str, unknown: list[str], handled: list[str]) -> Iterator[int]:
    settings = {
        "FANOUT_DATABASE_URL": topic.database.engine.url.render_as_string(hide_password=False),
        "FANOUT_KAFKA": topic.kafka,
        "FANOUT_REGISTRY_URL": registry_url,
        "FANOUT_HTTP_PORT": str(free_base()),
        "FANOUT_BATCH_SIZE": "10",
    }
    changes = {
        "service": "notifications",
        "name": topic.name,
        "topics": {"OrderPlaced": topic.name, "OrderCancelled": topic.name},
        "unknown": unknown,
        "handled": handled,
    }
    command = [sys.executable, "-m", "tests.support.release_worker", dumps(changes)]
    process = subprocess.Popen(command, cwd=REPOSITORY, env=os.environ | settings, stdout=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(20)


async def applied_in(database: Database) -> int:
    async with database.transaction() as db:
        return int(await db.scalar(text("SELECT count(*) FROM inbox WHERE status = 'applied'")) or 0)


async def test_a_worker_that_is_killed_while_it_catches_up_applies_each_event_once(
    request: pytest.FixtureRequest, new_database: NewDatabase, stack: Stack
) -> None:
    database, url = await new_database("notifications"), stack.addresses.registry_url
    async with new_topic(kafka_address(request), database, partitions=2) as topic:
        subjects = [subject_named(topic.name, each.NAME) for each in (OrderPlaced, OrderCancelled)]
        texts = [versions_of(each)[-1][1] for each in (OrderPlaced, OrderCancelled)]
        with (
            registered(url, subjects[0], texts[0]) as [placed_id],
            registered(url, subjects[1], texts[1]) as [cancel_id],
        ):
            send_orders(topic, placed_id, cancel_id)

            async def has_ignored() -> bool:
                return await ignored_in(database) == ORDERS

            with worker(topic, url, ["OrderCancelled"], ["OrderPlaced"]):
                await until(has_ignored, 60)
                assert await applied_in(database) == ORDERS
            await kill_while_catching_up(topic, database, url)

            async def is_done() -> bool:
                return await applied_in(database) == 2 * ORDERS

            with worker(topic, url, [], ["OrderPlaced", "OrderCancelled"]):
                await until(is_done, 60)
        await assert_one_message_each(database)


def send_orders(topic: Topic, placed_id: int, cancel_id: int) -> None:
    for n in range(ORDERS):
        placed, refused = (
            example(OrderPlaced, order_id=f"order-{n}"),
            example(OrderCancelled, order_id=f"order-{n}"),
        )
        topic.send(
            n % 2,
            record("OrderPlaced", placed.order_id, n, frame(placed_id, encode(placed))),
            record("OrderCancelled", refused.order_id, n, frame(cancel_id, encode(refused))),
        )


async def kill_while_catching_up(topic: Topic, database: Database, registry_url: str) -> None:
    """Kills the newer release each time it has applied something, before Kafka has all of its offsets."""
    for _ in range(KILLS):
        reached = await applied_in(database)

        async def has_progressed(reached: int = reached) -> bool:
            return await applied_in(database) > reached

        with worker(topic, registry_url, [], ["OrderPlaced", "OrderCancelled"]) as pid:
            await until(has_progressed, 60)
            os.kill(pid, signal.SIGKILL)
        assert reached < 2 * ORDERS


async def assert_one_message_each(database: Database) -> None:
    async with database.transaction() as db:
        found: Sequence[Row[Any]] = list(
            await db.execute(
                text("SELECT kind, count(*), count(DISTINCT order_id) FROM messages GROUP BY kind")
            )
        )
        handed_over = await db.scalar(text("SELECT sum(applied)::int FROM consumer_offsets"))
    assert sorted(map(tuple, found)) == [
        ("order_cancelled", ORDERS, ORDERS),
        ("order_placed", ORDERS, ORDERS),
    ]
    assert handed_over == 2 * ORDERS
    assert await rows(database, ignored_events) == await rows(database, parked) == []


def test_the_first_offset_of_a_partition_is_the_lowest_of_its_types() -> None:
    found = [
        IgnoredRange(("orders", 0), name, offset, NOW, NOW) for name, offset in (("A", 7), ("B", 4), ("C", 9))
    ]
    assert first_offsets(found) == {("orders", 0): 4}
