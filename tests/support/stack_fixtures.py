"""What any test of the repository may ask for: a real stack, and databases of a service on it. Nothing stays behind."""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from pathlib import Path
from types import FrameType

import pytest
from sqlalchemy.engine import URL, make_url

from chassis.database import Database
from chassis.migrations import migrate
from chassis.service import load
from fanout.local.stack_directory import StackDirectory
from tests.support.databases import administer, named_url
from tests.support.stack import Stack, free_base
from tests.support.system import System, system_of

NewDatabase = Callable[[str], Awaitable[Database]]


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


@pytest.fixture
async def system(stack: Stack) -> AsyncIterator[System]:
    """The running stack as a customer and an operator see it."""
    async with system_of(stack) as system:
        yield system


@pytest.fixture(scope="session")
def postgres_url(request: pytest.FixtureRequest) -> URL:
    """A superuser's URL; `FANOUT_TEST_POSTGRES` names one to use instead of a stack's."""
    if given := os.environ.get("FANOUT_TEST_POSTGRES"):
        return make_url(given)
    stack = request.getfixturevalue("stack")
    some_database = next(iter(stack.addresses.databases.values()))
    return make_url(some_database).set(
        username="postgres",
        password=StackDirectory(stack.home).passwords(["postgres"])["postgres"],
        database="postgres",
    )


@pytest.fixture(scope="session")
def databases(postgres_url: URL) -> Iterator["Databases"]:
    databases = Databases(postgres_url)
    yield databases
    databases.close()


@pytest.fixture
async def new_database(databases: "Databases") -> AsyncIterator[NewDatabase]:
    """`await new_database("orders")` is a Database with the tables of the chassis and of that service."""
    opened: list[Database] = []

    async def create(service: str) -> Database:
        opened.append(Database(await databases.take(service)))
        return opened[-1]

    yield create
    for database in opened:
        await database.close()
        databases.drop(database.engine.url.database or "")


class Databases:
    """Copies migrated databases in the background: one of each service is always there before a test asks for it."""

    def __init__(self, server: URL) -> None:
        self._server = server
        self._worker = ThreadPoolExecutor(max_workers=1)
        self._spare: dict[str, Future[str]] = {}
        self._templates: list[str] = []
        self._numbers = count(1)

    async def take(self, service: str) -> str:
        """Returns the URL of a database that nobody else has."""
        spare = self._spare.pop(service) if service in self._spare else self._submit(service)
        name = await asyncio.wrap_future(spare)
        self._spare[service] = self._submit(service)
        return named_url(self._server, name)

    def drop(self, name: str) -> None:
        self._worker.submit(self._administer, f"DROP DATABASE {name} WITH (FORCE)")

    def close(self) -> None:
        """Drops what is left, and waits until it is gone."""
        for name in [*(spare.result() for spare in self._spare.values()), *self._templates]:
            self.drop(name)
        self._worker.shutdown()

    def _submit(self, service: str) -> Future[str]:
        return self._worker.submit(self._copy, service)

    def _copy(self, service: str) -> str:
        template = f"template_{service}_{os.getpid()}"
        if template not in self._templates:
            self._administer(f"CREATE DATABASE {template}")
            self._templates.append(template)
            asyncio.run(migrate(load(service), named_url(self._server, template)))
        name = f"test_{service}_{os.getpid()}_{next(self._numbers)}"
        self._administer(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def _administer(self, statement: str) -> None:
        asyncio.run(administer(self._server, statement))


def pytest_configure() -> None:
    """A terminated run cleans up like an interrupted one."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
