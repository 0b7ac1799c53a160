"""What any test of the repository may ask for: a real stack, and databases of a service on it. Nothing stays behind."""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path
from types import FrameType

import pytest
from sqlalchemy.engine import URL, make_url

from chassis.database import Database
from chassis.migrations import migrate
from chassis.service import load
from fanout.stack.home import Home
from tests.databases import administer, named_url
from tests.stack import Stack, free_base

NewDatabase = Callable[[str], Awaitable[Database]]
_numbers = count(1)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """One for the whole session, on free ports; `FANOUT_TEST_HOME` names a running one, which is left as it is."""
    if existing := os.environ.get("FANOUT_TEST_HOME"):
        yield Stack(Path(existing), os.environ | {"FANOUT_HOME": existing})
        return
    home = Path(tempfile.mkdtemp(prefix="fanout-test-"))
    stack = Stack(home, os.environ | {"FANOUT_HOME": str(home), "FANOUT_PORT_BASE": str(free_base())})
    try:
        stack.must("up", "--owner-pid", str(os.getpid()))
        yield stack
    finally:
        stack.fanout("down", "--wipe")
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_url(request: pytest.FixtureRequest) -> URL:
    """A superuser's URL; `FANOUT_TEST_POSTGRES` names one to use instead of a stack's."""
    if given := os.environ.get("FANOUT_TEST_POSTGRES"):
        return make_url(given)
    stack = request.getfixturevalue("stack")
    some_database = next(iter(stack.addresses.databases.values()))
    return make_url(some_database).set(
        username="postgres",
        password=Home(stack.home).passwords(["postgres"])["postgres"],
        database="postgres",
    )


@pytest.fixture(scope="session")
def templates(postgres_url: URL) -> Iterator[dict[str, str]]:
    """By service, the name of a migrated database to copy; filled as tests ask for services."""
    made: dict[str, str] = {}
    yield made
    for name in made.values():
        asyncio.run(administer(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
async def new_database(postgres_url: URL, templates: dict[str, str]) -> AsyncIterator[NewDatabase]:
    """`await new_database("orders")` is a Database with the tables of the chassis and of that service."""
    opened: list[Database] = []

    async def create(service: str) -> Database:
        if service not in templates:
            templates[service] = await _migrated(postgres_url, service)
        name = f"test_{service}_{os.getpid()}_{next(_numbers)}"
        await administer(postgres_url, f"CREATE DATABASE {name} TEMPLATE {templates[service]}")
        opened.append(Database(named_url(postgres_url, name)))
        return opened[-1]

    yield create
    for database in opened:
        await database.close()
        await administer(postgres_url, f"DROP DATABASE {database.engine.url.database} WITH (FORCE)")


async def _migrated(postgres_url: URL, service: str) -> str:
    name = f"template_{service}_{os.getpid()}"
    await administer(postgres_url, f"CREATE DATABASE {name}")
    await migrate(load(service), named_url(postgres_url, name))
    return name


def pytest_configure() -> None:
    """A terminated run cleans up like an interrupted one."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
