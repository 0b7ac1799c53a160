"""A frozen relay, or a frozen Postgres backend of it, is replaced within 30 s, and no event overtakes another."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from chassis.database import Database
from chassis.outbox.forward import Message
from tests.support.running_relay import Topics, fetch, kafka_topics, unsent, until, write
from tests.support.stack import REPOSITORY
from tests.support.stack_fixtures import NewDatabase

__all__ = ["kafka_topics"]

PROGRAM = """
import asyncio, sys
from chassis.config import Broker
from chassis.events.registry import Registry
from chassis.outbox.relay import Relay

url, kafka, registry = sys.argv[1:]
asyncio.run(Relay("fraud", url, Broker(kafka), Registry(registry)).run(asyncio.Event()))
"""
KEYS = 7
BACKEND = """
    SELECT pid FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
    WHERE datname = current_database() AND locktype = 'advisory' AND granted
"""


class Process:
    """A process that only relays; it writes a line when it is active."""

    def __init__(self, database: Database, topics: Topics, log: Path) -> None:
        url = database.engine.url.render_as_string(hide_password=False)
        command = [sys.executable, "-c", PROGRAM, url, topics.broker.address, topics.registry_url]
        self._log = log
        with log.open("w") as output:
            self.process = subprocess.Popen(command, cwd=REPOSITORY, stdout=output, stderr=output)

    @property
    def terms(self) -> int:
        """How often it became active."""
        return self._log.read_text().count("relay_active")

    async def was_interrupted(self) -> bool:
        return "relay_interrupted" in self._log.read_text()


@contextmanager
def two_relays(database: Database, topics: Topics, folder: Path) -> Iterator[tuple[Process, Process]]:
    both = Process(database, topics, folder / "first.log"), Process(database, topics, folder / "second.log")
    try:
        yield both
    finally:
        for each in both:
            each.process.kill()
            each.process.send_signal(signal.SIGCONT)
            each.process.wait(10)


@asynccontextmanager
async def constant_load(database: Database, topic: str) -> AsyncIterator[None]:
    """Writes 300 rows a second, whose values are their numbers."""
    ends = asyncio.Event()

    async def load() -> None:
        number = 0
        while not ends.is_set():
            rows = range(number, number + 15)
            await write(database, [Message(topic, str(n % KEYS).encode(), str(n).encode(), []) for n in rows])
            number += len(rows)
            await asyncio.sleep(0.05)

    loading = asyncio.create_task(load())
    try:
        yield
    finally:
        ends.set()
        await loading


@pytest.fixture
async def database(new_database: NewDatabase) -> Database:
    return await new_database("fraud")


def out_of_order(values: list[bytes | None]) -> list[tuple[int, int]]:
    """First occurrences that come after a later one of the same key."""
    last: dict[int, int] = {}
    seen: set[int] = set()
    wrong = []
    for number in (int(value or b"") for value in values):
        if number not in seen and number < last.get(number % KEYS, -1):
            wrong.append((number, last[number % KEYS]))
        seen.add(number)
        last[number % KEYS] = max(number, last.get(number % KEYS, -1))
    assert seen == set(range(len(seen)))
    return wrong


async def sent_since(database: Database, seconds: float) -> bool:
    """Whether rows that were written after the freeze are in Kafka."""
    written = "created_at > now() - make_interval(secs => :age)"
    sql = f"SELECT 1 FROM outbox WHERE published_at IS NOT NULL AND {written} LIMIT 1"
    return bool(await fetch(database, sql, age=seconds))


@pytest.mark.parametrize("what", ["the process", "its Postgres backend"])
async def test_a_frozen_relay_is_replaced_in_order(
    database: Database, kafka_topics: Topics, tmp_path: Path, what: str
) -> None:
    topic = kafka_topics.new()

    async def all_sent() -> bool:
        return await unsent(database) == 0

    with two_relays(database, kafka_topics, tmp_path) as both:

        async def active() -> list[Process]:
            return [each for each in both if each.terms]

        async def is_replaced() -> bool:
            return sum(each.terms for each in both) > 1

        [first] = await until(active)
        async with constant_load(database, topic):
            [(backend,)] = await fetch(database, BACKEND)
            victim = first.process.pid if what == "the process" else backend
            os.kill(victim, signal.SIGSTOP)
            frozen_at = time.monotonic()
            try:
                await until(is_replaced, 30)
                seconds = time.monotonic() - frozen_at
                await until(lambda: sent_since(database, seconds - 1))
            finally:
                os.kill(victim, signal.SIGCONT)
            await until(first.was_interrupted, 30)
        await until(all_sent, 30)
    print(f"{what} frozen: a relay was active again after {seconds:.1f} s")
    assert out_of_order(kafka_topics.values(topic)) == []
