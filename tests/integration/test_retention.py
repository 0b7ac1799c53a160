"""Old inbox rows, sent outbox rows and idempotency keys are purged, and no row that may still be needed."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from pydantic import ValidationError
from sqlalchemy import insert, select, text, update

from chassis import purging, retention
from chassis.config import Settings
from chassis.consumer.inbox import inbox
from chassis.database import Database
from chassis.http.idempotency_keys import idempotency_keys
from chassis.outbox.table import outbox
from chassis.retention import CLOCKS_DIFFER, complete_since, purge, purges
from fanout.provision.topics import REPLAY_WINDOW_MS, SEGMENT_MS, wanted
from tests.integration.conftest import NewDatabase

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
OLD, YOUNG = NOON - timedelta(seconds=1), NOON + timedelta(seconds=1)


@pytest.fixture
async def database(new_database: NewDatabase) -> Database:
    return await new_database("fraud")


async def received(database: Database, at: datetime, rows: int = 1, status: str = "applied") -> None:
    row = {"consumer": "fraud", "status": status, "received_at": at}
    async with database.transaction() as db:
        await db.execute(insert(inbox), [row | {"event_id": uuid4()} for _ in range(rows)])


async def published(database: Database, at: datetime | None, rows: int = 1) -> None:
    row = {"topic": "fraud", "headers": "[]", "created_at": OLD, "published_at": at}
    async with database.transaction() as db:
        await db.execute(insert(outbox), [row | {"event_id": uuid4()} for _ in range(rows)])


async def left(database: Database, column: Any) -> list[Any]:
    async with database.transaction() as db:
        return list((await db.execute(select(column).order_by(column))).scalars())


async def purge_before_noon(database: Database) -> dict[str, int]:
    return await purge(database, NOON, asyncio.Event())


async def test_old_inbox_rows_are_purged_but_those_of_parked_events_are_kept(database: Database) -> None:
    await received(database, OLD, rows=3)
    await received(database, OLD, status="parked")
    await received(database, YOUNG)
    assert await purge_before_noon(database) == {"inbox": 3}
    assert await left(database, inbox.c.status) == ["applied", "parked"]
    assert await left(database, inbox.c.received_at) == [OLD, YOUNG]


async def test_the_inbox_row_of_a_redriven_event_is_kept(database: Database) -> None:
    await received(database, OLD)
    async with database.transaction() as db:
        await db.execute(update(inbox).values(redrive=1))
    await received(database, OLD)
    assert await purge_before_noon(database) == {"inbox": 1}
    assert await left(database, inbox.c.redrive) == [1]


async def test_sent_outbox_rows_are_purged_and_unsent_ones_are_kept_at_any_age(database: Database) -> None:
    await published(database, OLD, rows=2)
    await published(database, None)
    await published(database, YOUNG)
    assert await purge_before_noon(database) == {"outbox": 2}
    assert await left(database, outbox.c.published_at) == [YOUNG, None]


async def test_old_idempotency_keys_are_purged(database: Database) -> None:
    async with database.transaction() as db:
        keys = [{"key": str(at), "fingerprint": b"", "created_at": at} for at in (OLD, YOUNG)]
        await db.execute(insert(idempotency_keys), keys)
    assert await purge_before_noon(database) == {"idempotency_keys": 1}
    assert await left(database, idempotency_keys.c.key) == [str(YOUNG)]


async def test_more_rows_than_fit_into_one_transaction_are_all_purged(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purging, "ROWS_AT_ONCE", 10)
    await received(database, OLD, rows=25)
    await published(database, OLD, rows=25)
    async with database.transaction() as db:
        await db.execute(text("ALTER TABLE outbox ALTER COLUMN id RESTART WITH 1000"))
    await published(database, OLD, rows=25)
    assert await purge_before_noon(database) == {"inbox": 25, "outbox": 50}


async def test_a_row_that_is_never_sent_does_not_keep_sent_rows_from_being_purged(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purging, "ROWS_AT_ONCE", 10)
    await published(database, None)
    await published(database, OLD, rows=25)
    assert await purge_before_noon(database) == {"outbox": 25}
    async with database.transaction() as db:
        await db.execute(update(outbox).values(set_aside_at=OLD, discarded_at=OLD))
    assert await purge_before_noon(database) == {"outbox": 1}


async def test_a_purge_records_its_cutoff_and_the_number_of_rows(database: Database) -> None:
    async with database.transaction() as db:
        assert await complete_since(db, "inbox") is None
    await received(database, OLD, rows=2)
    await purge_before_noon(database)
    await received(database, OLD, rows=3)
    await purge(database, NOON - timedelta(milliseconds=500), asyncio.Event())
    async with database.transaction() as db:
        assert await complete_since(db, "inbox") == NOON + CLOCKS_DIFFER
        assert await complete_since(db, "outbox") is None
    assert await left(database, purges.c.purged) == [5]


async def test_a_purge_without_old_rows_records_nothing(database: Database) -> None:
    await received(database, YOUNG)
    assert await purge_before_noon(database) == {}
    assert await left(database, purges.c.what) == []


async def test_two_concurrent_purges_neither_wait_for_each_other_nor_count_twice(database: Database) -> None:
    await received(database, OLD, rows=30)
    async with database.transaction() as db:
        held = select(inbox.c.event_id).limit(10).with_for_update()
        await db.execute(held)
        async with asyncio.timeout(5):
            assert await purge_before_noon(database) == {"inbox": 20}
    await asyncio.gather(*(purge_before_noon(database) for _ in range(4)))
    assert (await left(database, inbox.c.event_id), await left(database, purges.c.purged)) == ([], [30])


async def test_a_worker_that_drains_does_not_begin_another_transaction(database: Database) -> None:
    await received(database, OLD)
    stop = asyncio.Event()
    stop.set()
    assert await purge(database, NOON, stop) == {}


async def test_a_worker_purges_when_it_starts_and_ends_when_it_is_stopped(database: Database) -> None:
    await received(database, datetime.now(UTC) - timedelta(days=11))
    await received(database, datetime.now(UTC) - timedelta(days=9))
    stop = asyncio.Event()
    cleaning = asyncio.create_task(retention.run(database, Settings(database_url="unused"), stop))
    async with asyncio.timeout(5):
        while len(await left(database, inbox.c.event_id)) > 1:
            await asyncio.sleep(0.02)
        stop.set()
        await cleaning


async def test_an_outage_ends_neither_the_purges_nor_their_worker() -> None:
    away = Database("postgresql+asyncpg://nobody@127.0.0.1:1/nothing")
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(0.3, stop.set)
    async with asyncio.timeout(5):
        await retention.run(away, Settings(database_url="unused"), stop)


def test_no_row_is_purged_while_a_topic_may_still_have_its_record() -> None:
    longest_days = (REPLAY_WINDOW_MS + SEGMENT_MS) / timedelta(days=1).total_seconds() / 1000
    with pytest.raises(ValidationError):
        Settings(database_url="unused", retention_days=longest_days)
    assert Settings(database_url="unused").retention_days > longest_days


def test_every_topic_deletes_its_records_before_rows_are_purged() -> None:
    configs = [topic.config or {} for topic in wanted({"orders"}, [("fraud", "orders")])]
    kept = {(config["retention.ms"], config["segment.ms"]) for config in configs}
    assert (len(configs), kept) == (3, {(str(REPLAY_WINDOW_MS), str(SEGMENT_MS))})
