"""Bulk redrives and discards: in pages, several at once, each dead letter once."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import suppress
from types import SimpleNamespace

import httpx
import psutil
import pytest
from sqlalchemy import text

from chassis.database import Database
from services.dead_letters import actions as actions_module
from services.dead_letters import api
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


async def test_a_bulk_redrive_of_large_messages_reads_only_a_few_of_them_at_once(
    client: httpx.AsyncClient, database: Database
) -> None:
    await store_large(database, messages=300, each_bytes=400_000)
    await client.post("/dead-letters/redrive", json=WHY | {"all": True, "limit": 1})
    gc.collect()
    before = psutil.Process().memory_info().rss
    most = asyncio.create_task(most_memory())
    answer = await client.post("/dead-letters/redrive", json=WHY | {"all": True})
    most.cancel()
    grown_mb = (await most - before) / 2**20
    assert (answer.json()["count"], answer.json()["next_after"]) == (299, None)
    assert grown_mb < 60, f"{grown_mb:.0f} MB more"
    async with database.transaction() as db:
        sent = (await db.execute(text("SELECT count(*), min(octet_length(payload)) FROM outbox"))).one()
    assert tuple(sent) == (300, 400_000)


async def most_memory() -> int:
    """Returns the greatest resident memory of this process until it is cancelled."""
    most, process = 0, psutil.Process()
    with suppress(asyncio.CancelledError):
        while True:
            most = max(most, process.memory_info().rss)
            await asyncio.sleep(0.005)
    return most


async def store_large(database: Database, messages: int, each_bytes: int) -> None:
    """Stores copies of one dead letter with values that are not compressed away."""
    await store(database, *many(1))
    copied = [
        column.name
        for column in dead_letters.c
        if column.name not in ("dead_letter_id", "kafka_offset", "value")
    ]
    async with database.transaction() as db:
        await db.execute(text("ALTER TABLE dead_letters ALTER COLUMN value SET STORAGE EXTERNAL"))
        await db.execute(
            text(
                f"INSERT INTO dead_letters (kafka_offset, value, {', '.join(copied)}) "
                f"SELECT n, convert_to(repeat('x', :bytes), 'UTF8'), {', '.join(copied)} "
                "FROM dead_letters, generate_series(1, :messages) AS n"
            ),
            {"bytes": each_bytes, "messages": messages},
        )
        await db.execute(text("DELETE FROM actions"))
        await db.execute(text("DELETE FROM dead_letters WHERE kafka_offset = 0"))


async def test_a_bulk_action_ends_after_some_seconds_and_says_where_to_continue(
    client: httpx.AsyncClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions_module, "PAGE_SIZE", 10)
    times = iter([0.0, 1.0, 9.0, 11.0, *[0.0] * 10])
    monkeypatch.setattr(api, "monotonic", lambda: next(times))
    await store(database, *many(50))
    first = (await client.post("/dead-letters/redrive", json=WHY | {"all": True})).json()
    assert first == {"count": 20, "next_after": 20}
    rest = (await client.post("/dead-letters/redrive", json=WHY | {"all": True, "after": 20})).json()
    assert rest == {"count": 30, "next_after": None}


@pytest.mark.parametrize(
    ("sizes", "first"), [([5, 5, 1], [1, 2]), ([11, 1], [1]), ([1, 11, 1], [1]), ([], [])]
)
def test_a_page_has_no_more_bytes_than_allowed_but_at_least_one_message(
    sizes: list[int], first: list[int]
) -> None:
    page = [
        SimpleNamespace(dead_letter_id=n, value_bytes=size, header_bytes=0) for n, size in enumerate(sizes, 1)
    ]
    assert actions_module.first_of_size(page, 10) == first  # type: ignore[arg-type]
