"""The consumer waits for conditions of a real Postgres that no message has caused, and parks nothing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from sqlalchemy import select, text
from sqlalchemy.engine import URL

from chassis.consumer.batch import EventProcessor
from chassis.consumer.parking import parked
from chassis.consumer.retry import MAX_ATTEMPTS
from chassis.database import Database
from chassis.errors import FailureClass, classify
from tests.support.databases import administer, named_url
from tests.support.recording_service import RecordingService, Schemas, confirmed, noted, rows

FAILURES = 2 * MAX_ATTEMPTS


@pytest.fixture
async def quick(
    recorder: RecordingService, database: Database, postgres_url: URL, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Database]:
    """Returns the same database through a login whose statements do not wait for a lock, and pause briefly."""
    monkeypatch.setattr("chassis.consumer.retry.FIRST_OUTAGE_WAIT_SECONDS", 0.001)
    monkeypatch.setattr("chassis.consumer.retry.LONGEST_OUTAGE_WAIT_SECONDS", 0.02)
    monkeypatch.setattr("chassis.consumer.retry.BACKOFF_SECONDS", 0.001)
    name = str(database.engine.url.database)
    await administer(postgres_url, f"ALTER DATABASE {name} SET lock_timeout = '20ms'")
    opened = Database(named_url(postgres_url, name))
    yield opened
    await opened.close()


@asynccontextmanager
async def table_lock(database: Database) -> AsyncIterator[None]:
    async with database.transaction() as db:
        await db.execute(text("LOCK TABLE notes IN SHARE MODE"))
        yield


@asynccontextmanager
async def missing_table(database: Database) -> AsyncIterator[None]:
    async with changed(database, "ALTER TABLE notes RENAME TO later", "ALTER TABLE later RENAME TO notes"):
        yield


@asynccontextmanager
async def missing_column(database: Database) -> AsyncIterator[None]:
    rename = "ALTER TABLE notes RENAME COLUMN {} TO {}"
    async with changed(database, rename.format("kind", "later"), rename.format("later", "kind")):
        yield


@asynccontextmanager
async def read_only(database: Database) -> AsyncIterator[None]:
    name, end = database.engine.url.database, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    others = f"{end} WHERE datname = '{name}' AND pid <> pg_backend_pid()"
    for switch in ("on", "off"):
        async with database.transaction() as db:
            await db.execute(text("SET TRANSACTION READ WRITE"))
            await db.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = {switch}"))
        async with database.transaction() as db:
            await db.execute(text(others))
        if switch == "on":
            yield


@asynccontextmanager
async def changed(database: Database, change: str, undo: str) -> AsyncIterator[None]:
    async with database.transaction() as db:
        await db.execute(text(change))
    yield
    async with database.transaction() as db:
        await db.execute(text(undo))


@pytest.mark.parametrize("condition", [table_lock, missing_table, missing_column, read_only])
async def test_the_consumer_waits_for_a_condition_of_the_database_and_parks_nothing(
    recorder: RecordingService,
    database: Database,
    quick: Database,
    condition: Callable[[Database], AbstractAsyncContextManager[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failed: list[str] = []
    working = RecordsFailures(EventProcessor(recorder.service, quick, Schemas()), failed, monkeypatch)
    await working.process([confirmed("first", 0)], asyncio.Event())
    async with condition(database):
        process = asyncio.create_task(
            working.process([confirmed("a", 1), confirmed("b", 2)], asyncio.Event())
        )
        async with asyncio.timeout(20):
            while len(failed) < FAILURES and not process.done():
                await asyncio.sleep(0.005)
    await asyncio.wait_for(process, 20)
    assert await rows(database, parked) == []
    assert [order_id for order_id, _ in await noted(recorder, database)] == ["first", "a", "b"]


class RecordsFailures:
    """Collects the errors of a processor's failed transactions."""

    def __init__(self, processor: EventProcessor, failed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        apply: Callable[..., Awaitable[None]] = processor._recovery._apply

        async def noting(*arguments: object, **named: object) -> None:
            try:
                await apply(*arguments, **named)
            except Exception as error:
                failed.append(str(error))
                raise

        monkeypatch.setattr(processor._recovery, "_apply", noting)
        self.process = processor.process


async def test_two_transactions_that_deadlock_are_both_applied_and_none_is_parked(
    recorder: RecordingService, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Postgres aborts one of them; it is repeated until the other has ended, however often that takes."""

    class Deadlock(Exception):
        sqlstate = "40P01"

    monkeypatch.setattr("chassis.consumer.retry.LONGEST_OUTAGE_WAIT_SECONDS", 0.01)
    recorder.failures["deadlocked"] = [Deadlock()] * (2 * MAX_ATTEMPTS)
    processor = EventProcessor(recorder.service, database, Schemas())
    await processor.process([confirmed("deadlocked", 0)], asyncio.Event())
    assert await rows(database, parked) == []
    assert await noted(recorder, database) == [("deadlocked", "confirmed")]


async def test_a_plan_from_before_an_alter_table_fails_once_and_parks_nothing(
    recorder: RecordingService, database: Database
) -> None:
    async def read() -> None:
        async with database.transaction() as db:
            await db.execute(select(recorder.notes))

    await read()
    async with database.engine.begin() as db:
        await db.execute(text("ALTER TABLE notes ALTER COLUMN order_id TYPE varchar(99)"))
    with pytest.raises(Exception) as stale:
        for _ in range(20):
            await read()
    assert classify(stale.value) is FailureClass.INFRASTRUCTURE
    await read()
