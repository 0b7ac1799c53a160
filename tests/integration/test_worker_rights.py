"""A worker in a container has a login with few rights: they are enough for what happens beside its events."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import uuid4

import pytest
from sqlalchemy import insert, select
from sqlalchemy.engine import URL

from chassis.database import Database
from chassis.outbox.table import outbox
from chassis.retention import PARKED, REPETITIONS
from chassis.service import load
from fanout.compose.permissions import worker_grants
from fanout.repository import services
from fanout.truncation import ARM, DISARM
from schemas import StockReserved
from tests.integration.conftest import NewDatabase
from tests.support import old_rows

PASSWORD = "worker"
PAYLOAD = bytes(range(40))
AsWorker = Callable[[str, Database], Awaitable[Database]]


@pytest.fixture
async def as_worker() -> AsyncIterator[AsWorker]:
    """`await as_worker("fraud", owned)` is the same database for a login that has a worker's rights and no others."""
    login, opened = f"test_worker_{os.getpid()}", list[tuple[Database, Database]]()

    async def open_it(service: str, owned: Database) -> Database:
        await run(owned, f"CREATE ROLE {login} LOGIN PASSWORD '{PASSWORD}'")
        await run(owned, *worker_grants(load(service), login))
        url: URL = owned.engine.url.set(username=login, password=PASSWORD)
        opened.append((owned, Database(url.render_as_string(hide_password=False))))
        return opened[-1][1]

    yield open_it
    for owned, database in opened:
        await database.close()
        await run(owned, f"DROP OWNED BY {login}", f"DROP ROLE {login}")


@pytest.mark.parametrize("service", services())
async def test_a_worker_may_purge_every_table_that_is_purged(
    service: str, new_database: NewDatabase, as_worker: AsWorker
) -> None:
    owned = await new_database(service)
    worker = await as_worker(service, owned)
    for retentions, rows in (
        (load(service).retention, old_rows.OF_SERVICES.get(service, [])),
        (REPETITIONS, old_rows.REPETITIONS),
        (PARKED, old_rows.PARKED),
    ):
        going = [each for each in rows if each.goes]
        assert await old_rows.wrong_fates(owned, worker, retentions, going) == []


async def test_of_what_a_worker_of_inventory_publishes_exactly_one_message_is_truncated(
    new_database: NewDatabase, as_worker: AsWorker
) -> None:
    owned = await new_database("inventory")
    database = await as_worker("inventory", owned)
    await run(owned, ARM)
    for _ in range(2):
        await publish_reservation(database)
    await run(owned, DISARM)
    await publish_reservation(database)
    async with owned.transaction() as db:
        payloads = list((await db.execute(select(outbox.c.payload).order_by(outbox.c.id))).scalars())
    assert payloads == [PAYLOAD[: len(PAYLOAD) // 2], PAYLOAD, PAYLOAD]


async def publish_reservation(database: Database) -> None:
    row = {"event_id": uuid4(), "topic": "inventory", "type": StockReserved.NAME, "payload": PAYLOAD}
    async with database.transaction() as db:
        await db.execute(insert(outbox), [row | {"headers": "[]", "created_at": old_rows.NOON}])


async def run(database: Database, *scripts: str) -> None:
    async with database.transaction() as db:
        connection = (await db.get_raw_connection()).driver_connection
        assert connection
        for script in scripts:
            await connection.execute(script)
