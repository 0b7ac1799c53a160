"""A fresh, migrated database for a test, on the session's Postgres."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count

import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import create_async_engine

from chassis.database import Database
from chassis.migrations import migrate
from chassis.service import Service, load
from fanout.stack.home import Home

NewDatabase = Callable[[str | Service], Awaitable[Database]]
_numbers = count(1)


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


@pytest.fixture
async def new_database(postgres_url: URL) -> AsyncIterator[NewDatabase]:
    """`await new_database("orders")` is a Database with the tables of the chassis and of that service."""
    names: list[str] = []
    opened: list[Database] = []

    async def create(service: str | Service) -> Database:
        service = load(service) if isinstance(service, str) else service
        name = f"test_{service.name}_{os.getpid()}_{next(_numbers)}"
        await _administer(postgres_url, f"CREATE DATABASE {name}")
        names.append(name)
        url = postgres_url.set(database=name).render_as_string(hide_password=False)
        await migrate(service, url)
        opened.append(Database(url))
        return opened[-1]

    yield create
    for database in opened:
        await database.close()
    for name in names:
        await _administer(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


async def _administer(url: URL, statement: str) -> None:
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            await connection.execute(text(statement))
    finally:
        await engine.dispose()
