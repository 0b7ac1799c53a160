"""Connects to one service's database from outside: read-only snapshots, and one sentence if it is unreachable."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import asyncpg
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from fanout.errors import FanoutError, Unreachable

T = TypeVar("T")

Databases = Mapping[str, str]
"""Service -> `postgresql+asyncpg://…`."""

# The roles' time-outs are for services; counting a million rows may take longer.
_SETTINGS = {"statement_timeout": "0", "idle_in_transaction_session_timeout": "0", "jit": "off"}
_HELD = text("""
    SELECT consumer, topic, partition, kafka_offset, error FROM held_partitions
    ORDER BY consumer, topic, partition
""")
_IGNORED = text("""
    SELECT consumer, topic, type, sum(events) AS events, min(first_at) AT TIME ZONE 'UTC' AS first_at
    FROM ignored_events GROUP BY consumer, topic, type ORDER BY consumer, topic, type
""")


@asynccontextmanager
async def snapshot(service: str, url: str) -> AsyncIterator[AsyncConnection]:
    """Connects read-only; everything read through the connection is of one point in time."""
    async with session(service, url) as db:
        await db.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        yield db


@asynccontextmanager
async def session(service: str, url: str) -> AsyncIterator[AsyncConnection]:
    """Connects; the caller begins and ends transactions. Raises Unreachable, or FanoutError for other errors."""
    connect_args = {"server_settings": _SETTINGS, "timeout": 5}
    engine = create_async_engine(url, poolclass=NullPool, connect_args=connect_args, hide_parameters=True)
    try:
        with errors_of(service, url):
            async with _connection(engine) as db:
                yield db
    finally:
        await engine.dispose()


@contextmanager
def errors_of(service: str, url: str) -> Iterator[None]:
    """Raises Unreachable for an error that means so, and FanoutError for another one of the database."""
    try:
        yield
    except OSError as error:
        raise _unreachable(service, url) from error
    except (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        if _connection_is_gone(error):
            raise _unreachable(service, url) from error
        cause = str(error.orig if isinstance(error, DBAPIError) else error)
        reason = cause.split(">: ")[-1].splitlines()[0]
        raise FanoutError(f"the database of {service} refuses a statement: {reason}") from error


async def read_each(databases: Databases, read: Callable[[str, AsyncConnection], Awaitable[T]]) -> list[T]:
    """Calls `read(service, db)` with a snapshot of every database at once; returns results in their order.

    Raises the first error. All connections are closed when it ends, also when it fails or is cancelled: one that is
    left to the end of the event loop is cancelled while it closes, which SQLAlchemy logs as an error.
    """

    async def read_one(service: str, url: str) -> T:
        async with snapshot(service, url) as db:
            return await read(service, db)

    return await at_once(read_one(*each) for each in databases.items())


async def at_once(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Returns the results in the order of the coroutines. Raises the first error, after all have ended."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in coroutines]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from errors.exceptions[0].__cause__
    return [task.result() for task in tasks]


async def held_partitions(databases: Databases) -> list[str]:
    """Returns one sentence for each partition that a consumer cannot read on."""
    found = await read_each(databases, lambda _, db: held_in(db))
    return [sentence for sentences in found for sentence in sentences]


async def held_in(db: AsyncConnection) -> list[str]:
    """Returns one sentence for each partition that a consumer of this database cannot read on."""
    return [
        f"{row.consumer} cannot read {row.topic}[{row.partition}] at offset {row.kafka_offset}: {row.error}"
        for row in await db.execute(_HELD)
    ]


async def ignored_events(databases: Databases) -> list[str]:
    """Returns one sentence for each type of events that a consumer passed over because it did not know the type."""

    async def ignored(_: str, db: AsyncConnection) -> list[str]:
        return [
            f"{row.consumer} has ignored {row.events} {row.type} of {row.topic} since {row.first_at:%Y-%m-%d %H:%M:%S} "
            "UTC: its release does not know the type"
            for row in await db.execute(_IGNORED)
        ]

    return [sentence for found in await read_each(databases, ignored) for sentence in found]


@asynccontextmanager
async def _connection(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Yields a connection of the engine. If the task is cancelled, finishes connecting or disconnecting first.

    asyncpg and SQLAlchemy log a traceback when either is interrupted.
    """
    connecting = asyncio.create_task(_connect(engine))
    try:
        yield await _to_the_end(connecting)
    finally:
        if connecting.done() and not connecting.exception():
            await _to_the_end(asyncio.create_task(connecting.result().close()))


async def _connect(engine: AsyncEngine) -> AsyncConnection:
    return await engine.connect()


async def _to_the_end(task: asyncio.Task[T]) -> T:
    """Returns the task's result; when cancelled, waits for the task all the same before it ends, even if it fails."""
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise


def _unreachable(service: str, url: str) -> Unreachable:
    place = make_url(url)
    return Unreachable(f"the database of {service}", f"{place.host}:{place.port}")


def _connection_is_gone(error: Exception) -> bool:
    """Also true while Postgres starts up, shuts down or lacks the database (classes 08, 57P and 3D)."""
    original = error.orig if isinstance(error, DBAPIError) else error
    is_cut = isinstance(error, asyncpg.InterfaceError) or getattr(error, "connection_invalidated", False)
    state = getattr(original, "sqlstate", None) or ""
    return is_cut or state.startswith(("08", "57P", "3D"))
