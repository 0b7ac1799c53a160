"""A worker in a container has a login with few rights: they are enough for what no order ever waits for."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import insert, text
from sqlalchemy.engine import URL

from chassis.consumer.inbox import inbox
from chassis.database import Database
from chassis.http.idempotency_keys import idempotency_keys
from chassis.outbox.table import outbox
from chassis.retention import OLD_ROWS, purge
from chassis.service import load
from fanout.compose.permissions import worker_grants
from fanout.repository import services
from tests.integration.conftest import NewDatabase

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
OLD = NOON - timedelta(days=1)
PASSWORD = "worker"
OLD_ROW = {
    inbox: {"consumer": "any", "event_id": uuid4(), "status": "applied", "received_at": OLD},
    outbox: {"event_id": uuid4(), "topic": "any", "headers": "[]", "created_at": OLD, "published_at": OLD},
    idempotency_keys: {"key": "any", "fingerprint": b"", "created_at": OLD},
}

AsWorker = Callable[[str, Database], Awaitable[Database]]


@pytest.fixture
async def as_worker() -> AsyncIterator[AsWorker]:
    """`await as_worker("fraud", owned)` is the same database for a login that has a worker's rights and no others."""
    login, opened = f"test_worker_{os.getpid()}", list[tuple[Database, Database]]()

    async def open_it(service: str, owned: Database) -> Database:
        async with owned.transaction() as db:
            await db.execute(text(f"CREATE ROLE {login} LOGIN PASSWORD '{PASSWORD}'"))
            connection = (await db.get_raw_connection()).driver_connection
            assert connection
            for statement in worker_grants(load(service), login):
                await connection.execute(statement)
        url: URL = owned.engine.url.set(username=login, password=PASSWORD)
        opened.append((owned, Database(url.render_as_string(hide_password=False))))
        return opened[-1][1]

    yield open_it
    for owned, database in opened:
        await database.close()
        async with owned.transaction() as db:
            await db.execute(text(f"DROP OWNED BY {login}"))
            await db.execute(text(f"DROP ROLE {login}"))


@pytest.mark.parametrize("service", services())
async def test_a_worker_may_purge_every_table_that_is_purged(
    service: str, new_database: NewDatabase, as_worker: AsWorker
) -> None:
    owned = await new_database(service)
    async with owned.transaction() as db:
        for table, row in OLD_ROW.items():
            await db.execute(insert(table), [row])
    database = await as_worker(service, owned)
    assert await purge(database, NOON, asyncio.Event()) == dict.fromkeys(OLD_ROWS, 1)
