"""Bulk redrives and discards: in pages, several at once, each dead letter once."""

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
from tests.support.dead_letter_service import WHY, many, redriven_messages, served, store, stored
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


@pytest.mark.parametrize("action", ["redrive", "discard"])
async def test_a_bulk_action_waits_for_a_dead_letter_that_is_locked_and_leaves_it_out_if_it_changed(
    client: httpx.AsyncClient, database: Database, action: str
) -> None:
    await store(database, *many(10))
    async with database.transaction() as db:
        dead_letter = await lock(db, 5)
        assert dead_letter is not None
        bulk = asyncio.create_task(client.post(f"/dead-letters/{action}", json=WHY | {"all": True}))
        await until_somebody_waits(database)
        await redrive_one(db, dead_letter, Reason("bob", "first"), None)
    assert (await bulk).json()["count"] == 9
    assert [action.who for action in await stored(database, actions) if action.dead_letter_id == 5] == ["bob"]


async def until_somebody_waits(database: Database) -> None:
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with asyncio.timeout(10), database.transaction() as db:
        while not (await db.execute(text(waiting))).first():
            await asyncio.sleep(0.01)
            await db.execute(text("SELECT pg_stat_clear_snapshot()"))


async def test_concurrent_bulk_and_single_redrives_redrive_each_dead_letter_once_in_bulk_and_in_order(
    client: httpx.AsyncClient, database: Database
) -> None:
    await store(database, *many(350))
    everything = WHY | {"all": True}
    answers = await asyncio.gather(
        *(client.post("/dead-letters/redrive", json=everything) for _ in range(4)),
        *(client.post(f"/dead-letters/{n}/redrive", json=WHY) for n in range(340, 351)),
    )
    assert all(answer.is_success for answer in answers)
    origins = [origin for _, _, origin in await redriven_messages(database)]
    untouched = [origin.kafka_offset for origin in origins if origin.kafka_offset < 339]
    assert untouched == list(range(339))
    assert {origin.kafka_offset for origin in origins} == set(range(350))
    assert len(await stored(database, actions)) == len(origins)
    assert sum(answer.json()["count"] for answer in answers[:4]) >= 339


async def test_a_bulk_action_can_be_done_in_pieces(client: httpx.AsyncClient, database: Database) -> None:
    await store(database, *many(250))
    piece = WHY | {"all": True, "limit": 120}
    first = (await client.post("/dead-letters/redrive", json=piece)).json()
    assert first == {"count": 120, "next_after": 120}
    rest = (await client.post("/dead-letters/redrive", json=WHY | {"all": True, "after": 120})).json()
    assert rest == {"count": 130, "next_after": None}


async def test_a_bulk_redrive_leaves_out_what_no_consumer_parked(
    client: httpx.AsyncClient, database: Database
) -> None:
    await store(database, confirmed("order-1", 7).__class__("orders.fraud.dlq", 0, 7, 0, None, b"", []))
    assert (await client.post("/dead-letters/redrive", json=WHY | {"all": True})).json()["count"] == 0
    assert (await client.post("/dead-letters/discard", json=WHY | {"all": True})).json()["count"] == 1


async def test_a_bulk_discard_discards_each_dead_letter_once_with_a_reason(
    client: httpx.AsyncClient, database: Database
) -> None:
    await store(database, *many(150))
    await client.post("/dead-letters/1/redrive", json=WHY)
    answers = await asyncio.gather(
        *(client.post("/dead-letters/discard", json=WHY | {"consumer": "fraud"}) for _ in range(2))
    )
    assert sum(answer.json()["count"] for answer in answers) == 149
    assert len(await stored(database, actions)) == 150
    assert {dead_letter.status for dead_letter in (await stored(database, dead_letters))[1:]} == {"discarded"}


async def test_what_was_redriven_to_a_removed_consumer_is_discarded_and_nothing_of_other_consumers(
    client: httpx.AsyncClient, database: Database
) -> None:
    await store(database, *many(3), *many(2, "orders"))
    await client.post("/dead-letters/2/redrive", json=WHY)
    await client.post("/dead-letters/4/redrive", json=WHY)
    gone = WHY | {"consumer": "fraud", "consumer_is_gone": True}
    assert (await client.post("/dead-letters/discard", json=gone)).json()["count"] == 3
    assert (await client.post("/dead-letters/discard", json=gone)).json()["count"] == 0
    status = [dead_letter.status for dead_letter in await stored(database, dead_letters)]
    assert status == ["discarded"] * 3 + ["redriven", "parked"]
    assert (await client.post("/dead-letters/2/redrive", json=WHY)).status_code == 409
    nobody = await client.post("/dead-letters/discard", json=WHY | {"all": True, "consumer_is_gone": True})
    assert nobody.status_code == 422
