"""What tests of this folder may ask for beside the repository's fixtures: a small world in which everything holds."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from itertools import count

import pytest
from confluent_kafka.admin import AdminClient
from sqlalchemy.engine import URL

from chassis.broker import Broker
from chassis.database import Database
from fanout.provision import kafka_and_registry
from tests.support.recording_service import Desk, desk_database
from tests.support.simulated_system import Honest, World, copy, create, drop, live, world_at
from tests.support.stack import Stack
from tests.support.stack_fixtures import NewDatabase

__all__ = ["Broken", "NewDatabase", "NewTopic"]

Broken = Callable[..., Awaitable[World]]
NewTopic = Callable[..., str]
_numbers = count(1)


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
async def database(new_database: NewDatabase, desk: Desk) -> Database:
    """The desk's, unless a module says whose."""
    return await desk_database(desk, new_database)


@pytest.fixture(scope="session")
def honest(postgres_url: URL) -> Iterator[Honest]:
    names = asyncio.run(create(postgres_url, f"ledger_{os.getpid()}"))
    try:
        yield asyncio.run(live(world_at(postgres_url, names), names))
    finally:
        asyncio.run(drop(postgres_url, names.values()))


@pytest.fixture
async def copied(honest: Honest, postgres_url: URL) -> AsyncIterator[Broken]:
    """`await copied("payments")` is the honest world, of which the named services may be broken."""
    made: list[tuple[World, Mapping[str, str]]] = []

    async def make(*services: str) -> World:
        chosen = {service: honest.names[service] for service in services}
        names = await copy(postgres_url, chosen, str(next(_numbers)))
        world = world_at(postgres_url, {**honest.names, **names}, honest.offsets)
        made.append((world, names))
        return world

    yield make
    for world, names in made:
        await world.close()
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
        wanted = kafka_and_registry.wanted({name}, [(consumer, name) for consumer in listening])
        kafka_and_registry.ensure(admin, wanted)
        made.extend(topic.topic for topic in wanted)
        return name

    yield make
    if made:
        for gone in admin.delete_topics(made).values():
            gone.result()
