"""A worker in a container has a login with few rights: they are enough for what happens beside its events."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert, select
from sqlalchemy.engine import URL

from chassis.config import Broker
from chassis.consumer.offsets import BatchCounts, advance, consumer_offsets
from chassis.consumer.positions import Positions
from chassis.database import Database
from chassis.events.kafka_topics import KafkaTopics, PartitionLog
from chassis.events.topic_ids import topic_ids
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


async def test_a_worker_may_open_partitions_and_store_its_offsets(
    new_database: NewDatabase, as_worker: AsWorker
) -> None:
    owned = await new_database("fraud")
    database = await as_worker("fraud", owned)
    positions = Positions("fraud", database, [], KafkaTopics(Broker("")))
    for topic_id in (UUID(int=1), UUID(int=2)):  # the second is that of a topic that was made anew
        await positions.open([("orders", 0)], {("orders", 0): PartitionLog(topic_id, 3)})
        async with database.transaction() as db:
            await advance(db, "fraud", "orders", 0, 9, BatchCounts(received=0), lowest=3)
        await positions.store({("orders", 0): 10}, {("orders", 0): 3})
    async with owned.transaction() as db:
        [row] = await db.execute(select(consumer_offsets))
        assert (row.next_offset, row.lost, row.topic_id) == (10, 3, UUID(int=2))
        assert {row.topic_id for row in await db.execute(select(topic_ids))} == {UUID(int=1), UUID(int=2)}
