"""Dead letters by the hundred: sent back or discarded in pages, by several at once, each of them once."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from sqlalchemy import text

from chassis.database import Database
from services.dead_letters.actions import Reason, lock, redrive_one
from services.dead_letters.tables import actions, dead_letters
from tests.integration.conftest import NewDatabase
from tests.support import sample_events
from tests.support.dead_letter_service import WHY, kept, many, sent, served, store
from tests.support.recording_service import confirmed


@pytest.fixture
async def database(new_database: NewDatabase) -> AsyncIterator[Database]:
    database = await new_database("dead_letters")
    yield database
    assert not await sample_events.broken_checks("dead_letters", database)


@pytest.fixture
async def client(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with served(database) as client:
        yield client


@pytest.mark.parametrize("deed", ["redrive", "discard"])
async def test_bulk_waits_for_a_letter_that_somebody_is_acting_on_and_leaves_it_out_then(
    client: httpx.AsyncClient, database: Database, deed: str
) -> None:
    await store(database, *many(10))
    async with database.transaction() as db:
        letter = await lock(5, db)
        assert letter is not None
        bulk = asyncio.create_task(client.post(f"/dead-letters/{deed}", json=WHY | {"all": True}))
        await until_somebody_waits(database)
        await redrive_one(letter, Reason("bob", "first"), None, db)
    assert (await bulk).json()["count"] == 9
    assert [action.who for action in await kept(database, actions) if action.dead_letter_id == 5] == ["bob"]


async def until_somebody_waits(database: Database) -> None:
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with asyncio.timeout(10), database.transaction() as db:
        while not (await db.execute(text(waiting))).first():
            await asyncio.sleep(0.01)
            await db.execute(text("SELECT pg_stat_clear_snapshot()"))


async def test_twice_at_once_in_bulk_and_singly_sends_each_letter_once_by_the_bulk_and_in_order(
    client: httpx.AsyncClient, database: Database
) -> None:
    await store(database, *many(350))
    everything = WHY | {"all": True}
    answers = await asyncio.gather(
        *(client.post("/dead-letters/redrive", json=everything) for _ in range(4)),
        *(client.post(f"/dead-letters/{n}/redrive", json=WHY) for n in range(340, 351)),
    )
    assert all(answer.is_success for answer in answers)
    origins = [origin for _, _, origin in await sent(database)]
    untouched = [origin.kafka_offset for origin in origins if origin.kafka_offset < 339]
    assert untouched == list(range(339))
    assert {origin.kafka_offset for origin in origins} == set(range(350))
    assert len(await kept(database, actions)) == len(origins)
    assert sum(answer.json()["count"] for answer in answers[:4]) >= 339


async def test_bulk_work_can_be_done_in_pieces(client: httpx.AsyncClient, database: Database) -> None:
    await store(database, *many(250))
    piece = WHY | {"all": True, "limit": 120}
    first = (await client.post("/dead-letters/redrive", json=piece)).json()
    assert first == {"count": 120, "next_after": 120}
    rest = (await client.post("/dead-letters/redrive", json=WHY | {"all": True, "after": 120})).json()
    assert rest == {"count": 130, "next_after": None}


async def test_bulk_leaves_alone_what_nobody_would_read(
    client: httpx.AsyncClient, database: Database
) -> None:
    await store(database, confirmed("order-1", 7).__class__("orders.fraud.dlq", 0, 7, 0, None, b"", []))
    assert (await client.post("/dead-letters/redrive", json=WHY | {"all": True})).json()["count"] == 0
    assert (await client.post("/dead-letters/discard", json=WHY | {"all": True})).json()["count"] == 1


async def test_discarded_in_bulk_is_discarded_once_each_with_a_reason(
    client: httpx.AsyncClient, database: Database
) -> None:
    await store(database, *many(150))
    await client.post("/dead-letters/1/redrive", json=WHY)
    answers = await asyncio.gather(
        *(client.post("/dead-letters/discard", json=WHY | {"consumer": "fraud"}) for _ in range(2))
    )
    assert sum(answer.json()["count"] for answer in answers) == 149
    assert len(await kept(database, actions)) == 150
    assert {letter.status for letter in (await kept(database, dead_letters))[1:]} == {"discarded"}


async def test_when_a_consumer_is_gone_so_is_what_was_sent_back_to_it_and_nobody_elses(
    client: httpx.AsyncClient, database: Database
) -> None:
    await store(database, *many(3), *many(2, "orders"))
    await client.post("/dead-letters/2/redrive", json=WHY)
    await client.post("/dead-letters/4/redrive", json=WHY)
    gone = WHY | {"consumer": "fraud", "consumer_is_gone": True}
    assert (await client.post("/dead-letters/discard", json=gone)).json()["count"] == 3
    assert (await client.post("/dead-letters/discard", json=gone)).json()["count"] == 0
    status = [letter.status for letter in await kept(database, dead_letters)]
    assert status == ["discarded"] * 3 + ["redriven", "parked"]
    assert (await client.post("/dead-letters/2/redrive", json=WHY)).status_code == 409
    nobody = await client.post("/dead-letters/discard", json=WHY | {"all": True, "consumer_is_gone": True})
    assert nobody.status_code == 422
