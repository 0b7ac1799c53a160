"""Gives tests of this folder a small simulated system in which everything holds."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from itertools import count

import pytest
from confluent_kafka.admin import AdminClient
from sqlalchemy.engine import URL

from chassis.config import Broker
from chassis.database import Database
from fanout.provision import topics
from tests.support.recording_service import RecordingService, recorder_database
from tests.support.simulated_system import Honest, SimulatedSystem, copy, create, drop, live, simulated_at
from tests.support.stack import Stack
from tests.support.stack_fixtures import NewDatabase

__all__ = ["Broken", "NewDatabase", "NewTopic"]

Broken = Callable[..., Awaitable[SimulatedSystem]]
NewTopic = Callable[..., str]
_numbers = count(1)


@pytest.fixture
def recorder() -> RecordingService:
    return RecordingService()


@pytest.fixture
async def database(new_database: NewDatabase, recorder: RecordingService) -> Database:
    """The recorder's, unless a module says whose."""
    return await recorder_database(recorder, new_database)


@pytest.fixture(scope="session")
def honest(postgres_url: URL) -> Iterator[Honest]:
    names = asyncio.run(create(postgres_url, f"ledger_{os.getpid()}"))
    try:
        yield asyncio.run(live(simulated_at(postgres_url, names), names))
    finally:
        asyncio.run(drop(postgres_url, names.values()))


@pytest.fixture
async def copied(honest: Honest, postgres_url: URL) -> AsyncIterator[Broken]:
    """`await copied("payments")` is the honest simulated system, of which the named services may be broken."""
    made: list[tuple[SimulatedSystem, Mapping[str, str]]] = []

    async def make(*services: str) -> SimulatedSystem:
        chosen = {service: honest.names[service] for service in services}
        names = await copy(postgres_url, chosen, str(next(_numbers)))
        simulated = simulated_at(postgres_url, {**honest.names, **names}, honest.offsets)
        made.append((simulated, names))
        return simulated

    yield make
    for simulated, names in made:
        await simulated.close()
        await drop(postgres_url, names.values())


@pytest.fixture(scope="session")
def kafka(stack: Stack) -> Broker:
    return stack.addresses.broker


@pytest.fixture
def new_topic(kafka: Broker) -> Iterator[NewTopic]:
    """`new_topic()` is a topic of its own, as the set-up makes one, with those beside it for consumers `listening`."""
    admin = AdminClient(kafka.for_librdkafka())
    made: list[str] = []

    def make(*listening: str) -> str:
        name = f"test-{os.getpid()}-{next(_numbers)}"
        wanted = topics.wanted({name}, [(consumer, name) for consumer in listening])
        topics.ensure(admin, wanted)
        made.extend(topic.topic for topic in wanted)
        return name

    yield make
    if made:
        for gone in admin.delete_topics(made).values():
            gone.result()
