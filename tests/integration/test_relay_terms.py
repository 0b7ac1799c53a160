"""One relay per database is active; the next one becomes active at once after a crash, or after a term of 20 s."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest

from chassis.database import Database
from chassis.outbox import relay_connection
from chassis.outbox.relay_connection import connect
from chassis.outbox.terms import ADVISORY_LOCK, TermIsOver, become_active, renew
from tests.integration.conftest import NewDatabase

Connect = Callable[[], Awaitable[asyncpg.Connection]]


@pytest.fixture
async def database(new_database: NewDatabase) -> Database:
    return await new_database("fraud")


@pytest.fixture
async def session(database: Database) -> AsyncIterator[Connect]:
    opened: list[asyncpg.Connection] = []

    async def one() -> asyncpg.Connection:
        opened.append(await connect(database.engine.url.render_as_string(hide_password=False), "fraud"))
        return opened[-1]

    yield one
    for connection in opened:
        connection.terminate()


async def let_time_pass(connection: asyncpg.Connection) -> None:
    await connection.execute("UPDATE relay_terms SET renewed_at = renewed_at - interval '21 s'")


async def test_another_relay_is_active_at_once_after_a_crash(session: Connect) -> None:
    first, second = await session(), await session()
    assert await become_active(first) == 0
    assert await become_active(second) is None
    await first.close()
    assert await become_active(second) == 0


async def test_a_term_that_is_not_renewed_is_followed_by_the_next(session: Connect) -> None:
    frozen, second, third = await session(), await session(), await session()
    assert await become_active(frozen) == 0
    await let_time_pass(second)
    assert await become_active(second) == 1
    assert await become_active(third) is None
    with pytest.raises(TermIsOver):
        await renew(frozen, 0)
    await renew(second, 1)
    await second.close()
    assert await become_active(third) == 1, "a later term begins only after a freeze"


async def test_a_backend_that_is_frozen_while_it_renews_does_not_stop_the_next_term(session: Connect) -> None:
    frozen, second = await session(), await session()
    assert await become_active(frozen) == 0
    await let_time_pass(second)
    await frozen.execute("BEGIN")
    await renew(frozen, 0)
    assert await become_active(second) == 1
    await frozen.execute("COMMIT")


async def test_a_relay_waits_for_the_relay_of_an_earlier_release(session: Connect) -> None:
    """It renews nothing, and holds the lock that is now the first term's."""
    old, new = await session(), await session()
    assert await old.fetchval("SELECT pg_try_advisory_lock($1)", ADVISORY_LOCK)
    assert await become_active(new) is None
    await old.close()
    assert await become_active(new) == 0


async def test_an_idle_session_ends_by_itself(session: Connect) -> None:
    connection = await session()
    assert await connection.fetchval("SHOW idle_session_timeout") == "25s"
    await connection.execute("SET idle_session_timeout = '100ms'")
    ended = asyncio.Event()
    connection.add_termination_listener(lambda _: ended.set())
    await asyncio.wait_for(ended.wait(), 10)


async def test_every_statement_has_a_deadline(session: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_connection, "STATEMENT_SECONDS", 0.2)
    connection = await session()
    with pytest.raises(TimeoutError):
        await connection.execute("SELECT pg_sleep(20)")
