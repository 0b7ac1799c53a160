"""A message that crashes its worker is parked unread after three real crashes, and redriven when it is harmless."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from chassis.consumer.crash_loop import MAX_CRASHES
from chassis.database import Database
from chassis.events.topics import dead_letter_topic, redrive_topic
from tests.integration.conftest import NewDatabase
from tests.support.stack import REPOSITORY
from tests.support.system import System, until

GROUP = "fragile"
CRASHED = ("--consumer", GROUP, "--reason", "WorkerCrashed")
"""Without what other tests left in the topic that no consumer can read."""
DEAD_LETTER_SENT = "SELECT 1 FROM outbox WHERE topic LIKE '%.dlq' AND published_at IS NOT NULL AND key = $1"
APPLIED = "SELECT 1 FROM inbox WHERE consumer = 'fragile' AND status = 'applied' AND event_id = ANY($1)"


@pytest.fixture
async def database(new_database: NewDatabase) -> Database:
    """Returns the database of any service: the consumer has no tables of its own."""
    return await new_database("fraud")


@pytest.fixture
async def topics(system: System) -> AsyncIterator[None]:
    admin = AdminClient({"bootstrap.servers": system.stack.addresses.kafka})
    names = [name("orders", GROUP) for name in (dead_letter_topic, redrive_topic)]
    for made in admin.create_topics([NewTopic(name, 1, 1) for name in names]).values():
        try:
            made.result(10)
        except KafkaException as error:
            assert "already exists" in str(error)
    yield
    admin.delete_consumer_groups([GROUP])


@contextmanager
def worker(system: System, database: Database, crashes_on: str) -> Iterator[subprocess.Popen[bytes]]:
    settings = {
        "FANOUT_DATABASE_URL": database.engine.url.render_as_string(hide_password=False),
        "FANOUT_KAFKA": system.stack.addresses.kafka,
        "FANOUT_REGISTRY_URL": system.stack.addresses.registry_url,
    }
    command = [sys.executable, "-m", "tests.support.crashing_worker", crashes_on]
    process = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=os.environ | settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(15)


async def test_a_message_that_crashes_its_worker_three_times_is_parked_unread_and_redriven_when_it_is_harmless(
    system: System, database: Database, topics: None
) -> None:
    crashing, harmless = await system.order(), await system.order()
    for order_id in (crashing, harmless):
        await system.until_status(order_id, "shipped")

    crashes = 0
    while not await ended(system, database, crashing):
        crashes += 1
        assert crashes <= MAX_CRASHES + 1, "the worker went on crashing"
    # A first crash in a later batch than the first does not count: the record was in progress together with others.
    assert crashes in (MAX_CRASHES, MAX_CRASHES + 1)

    dead_letter = await until(lambda: its_dead_letter(system))
    assert (dead_letter["type"], dead_letter["error_type"], dead_letter["attempts"]) == (
        "OrderConfirmed",
        "WorkerCrashed",
        MAX_CRASHES,
    )

    with worker(system, database, crashes_on="nothing"):
        await system.fanout("dlq", "redrive", *CRASHED, "--why", "the bug is fixed")
        await until(lambda: has_applied(system, database, crashing))
        await until(lambda: has_applied(system, database, harmless))
    assert await system.settled()


async def ended(system: System, database: Database, crashing: str) -> bool:
    """Runs one worker; returns True if it has parked the message, and False if it has crashed."""
    with worker(system, database, crashes_on=crashing) as process:

        async def crashed_or_done() -> bool:
            return process.poll() is not None or bool(
                await rows(database, DEAD_LETTER_SENT, crashing.encode())
            )

        await until(crashed_or_done, 60)
        assert process.poll() in (None, -signal.SIGKILL)
        return process.poll() is None


async def rows(database: Database, sql: str, *arguments: Any) -> list[Any]:
    async with database.engine.connect() as db:
        raw = (await db.get_raw_connection()).driver_connection
        assert raw is not None
        return list(await raw.fetch(sql, *arguments))


async def has_applied(system: System, database: Database, order_id: str) -> bool:
    published = await system.query(
        "orders", "SELECT event_id FROM outbox WHERE aggregate_id = $1 AND type = 'OrderConfirmed'", order_id
    )
    return bool(await rows(database, APPLIED, [row["event_id"] for row in published]))


async def its_dead_letter(system: System) -> dict[str, Any] | None:
    """Returns the dead letter, whose topic was created while the dead_letters service was running."""
    listed = json.loads(await system.fanout("dlq", "ls", *CRASHED, "--json"))
    return next(iter(listed["dead_letters"]), None)
