"""Rows that are over are purged at their age, by index, and no row that may still be needed."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError
from sqlalchemy import insert, select, text, update

from chassis import purging, retention
from chassis.config import Settings
from chassis.consumer.inbox import claim, inbox
from chassis.database import Database
from chassis.outbox.table import outbox
from chassis.purging import Retention, first_id
from chassis.retention import CLOCKS_DIFFER, PARKED, REPETITIONS, complete_since, purge, purges
from chassis.service import load
from chassis.worker import NO_SEQUENTIAL_SCANS
from fanout.provision.topics import REPLAY_WINDOW_MS, SEGMENT_MS, wanted
from fanout.repository import services
from services.fulfillment.tables import shipments
from services.notifications.tables import RETENTION as MESSAGES
from services.notifications.tables import messages
from tests.integration.conftest import NewDatabase
from tests.support import old_rows

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
OLD, YOUNG = NOON - timedelta(seconds=1), NOON + timedelta(seconds=1)


@pytest.fixture
async def database(new_database: NewDatabase) -> Database:
    return await new_database("fraud")


async def received(database: Database, at: datetime, rows: int = 1) -> None:
    row = {"consumer": "fraud", "status": "applied", "received_at": at}
    first = UUID(first_id(at)).int + next(numbers) * 10_000
    async with database.transaction() as db:
        await db.execute(insert(inbox), [row | {"event_id": UUID(int=first + n)} for n in range(rows)])


numbers = count()


async def published(database: Database, at: datetime | None, rows: int = 1) -> None:
    row = {"topic": "fraud", "headers": "[]", "created_at": OLD, "published_at": at}
    async with database.transaction() as db:
        await db.execute(insert(outbox), [row | {"event_id": uuid4()} for _ in range(rows)])


async def left(database: Database, column: Any) -> list[Any]:
    async with database.transaction() as db:
        return list((await db.execute(select(column).order_by(column))).scalars())


async def purge_before_noon(database: Database) -> dict[str, int]:
    return await purge(database, NOON, asyncio.Event())


@pytest.mark.parametrize("service", services())
async def test_what_is_closed_and_old_is_purged_and_what_is_open_or_young_stays(
    new_database: NewDatabase, service: str
) -> None:
    database = await new_database(service)
    declared, rows = load(service).retention, old_rows.OF_SERVICES.get(service, [])
    assert await old_rows.wrong_fates(database, database, declared, rows) == []


@pytest.mark.parametrize(
    ("retentions", "rows"),
    [(REPETITIONS, old_rows.REPETITIONS), (PARKED, old_rows.PARKED)],
    ids=["repetitions", "parked"],
)
async def test_what_the_chassis_needs_no_longer_is_purged_and_what_it_may_need_stays(
    database: Database, retentions: Sequence[Retention], rows: Sequence[old_rows.Rows]
) -> None:
    assert await old_rows.wrong_fates(database, database, retentions, rows) == []


@pytest.mark.parametrize("service", services())
def test_a_service_declares_the_rows_that_these_tests_know(service: str) -> None:
    purged = {table for it in load(service).retention for table in it.deletes or {it.table: ""}}
    assert purged == {table for rows in old_rows.OF_SERVICES.get(service, []) for table in rows.goes or ()}


async def test_what_stays_between_what_goes_is_passed_over_range_by_range(
    new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purging, "ROWS_AT_ONCE", 7)
    database = await new_database("notifications")
    async with database.transaction() as db:
        await db.execute(text(EVERY_FOURTH_IS_SENT), {"old": OLD})
    assert await purge(database, NOON, asyncio.Event(), [MESSAGES]) == {"messages": 25}
    assert await left(database, messages.c.id) == [n for n in range(1, 101) if n % 4]


EVERY_FOURTH_IS_SENT = """
    INSERT INTO messages (order_id, customer_id, kind, body, created_at, sent_at)
    SELECT n, '', '', '', CAST(:old AS timestamptz), CASE WHEN n % 4 = 0 THEN CAST(:old AS timestamptz) END
    FROM generate_series(1, 100) AS n
"""


async def test_reading_ends_at_the_first_range_that_is_younger_than_the_cutoff(
    new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purging, "ROWS_AT_ONCE", 10)
    database = await new_database("notifications")
    async with database.transaction() as db:
        await db.execute(text(GROWING), {"old": OLD, "young": YOUNG})
    assert await purge(database, NOON, asyncio.Event(), [MESSAGES]) == {"messages": 95}
    assert await left(database, messages.c.id) == list(range(96, 1001))
    assert await tuples_read(database, "messages_pkey") < 300


GROWING = """
    INSERT INTO messages (order_id, customer_id, kind, body, created_at, sent_at)
    SELECT n, '', '', '', at, at
    FROM generate_series(1, 1000) AS n, LATERAL (
        SELECT CASE WHEN n <= 95 THEN CAST(:old AS timestamptz) ELSE CAST(:young AS timestamptz) END AS at
    ) AS times
"""


async def test_a_purge_reads_no_row_again_however_many_ranges_it_has(
    new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purging, "ROWS_AT_ONCE", 20)
    database, rows = await new_database("fraud"), 2_000
    await received(database, OLD, rows)
    assert await purge_before_noon(database) == {"inbox": rows}
    assert await tuples_read(database, "inbox_pkey") < 4 * rows


async def test_a_purge_planned_with_statistics_of_few_rows_does_not_compare_each_row_with_each_other(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purging, "ROWS_AT_ONCE", 10_000)
    await received(database, OLD)
    async with database.engine.connect() as db:
        await (await db.execution_options(isolation_level="AUTOCOMMIT")).execute(text("ANALYZE inbox"))
    await received(database, OLD, rows=10_000)
    worker = Database(database.engine.url.render_as_string(hide_password=False), settings=NO_SEQUENTIAL_SCANS)
    async with asyncio.timeout(6):  # a join by a loop takes three times as long, an array a tenth
        assert await purge_before_noon(worker) == {"inbox": 10_001}
    await worker.close()


async def tuples_read(database: Database, index: str) -> int:
    """Returns how many entries of the index were read, dead ones included, by connections that are closed now."""
    await database.engine.dispose()
    async with database.transaction() as db:
        found = text("SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = :name")
        read: int = (await db.execute(found, {"name": index})).scalar_one()
        return read


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


async def test_only_receipts_of_applied_events_are_counted_as_purged(database: Database) -> None:
    await received(database, OLD, rows=5)
    async with database.transaction() as db:
        two = select(inbox.c.event_id).limit(2).scalar_subquery()
        await db.execute(update(inbox).where(inbox.c.event_id.in_(two)).values(status="parked"))
        await db.execute(update(inbox).where(inbox.c.status == "applied").values(redrive=1))
    assert await purge(database, NOON, asyncio.Event(), PARKED) == {"inbox": 5}
    assert await left(database, purges.c.purged) == [3]


async def test_a_dead_letter_that_is_still_open_when_its_receipt_is_purged_is_redriven_with_one_effect(
    database: Database,
) -> None:
    await received(database, OLD)
    async with database.transaction() as db:
        [event_id] = (
            await db.execute(update(inbox).values(status="parked").returning(inbox.c.event_id))
        ).scalars()
    assert await purge(database, NOON, asyncio.Event(), PARKED) == {"inbox": 1}
    for redrive, applied in ((1, {event_id}), (1, set()), (2, set())):
        async with database.transaction() as db:
            assert await claim(db, "fraud", [(event_id, redrive)]) == applied


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


async def test_a_worker_purges_when_it_starts_what_each_setting_says_and_ends_when_it_is_stopped(
    new_database: NewDatabase,
) -> None:
    database, declared = await new_database("fulfillment"), load("fulfillment").retention
    for days in (29, 31):
        await shipped(database, datetime.now(UTC) - timedelta(days=days))
    for days in (9, 11):
        await received(database, datetime.now(UTC) - timedelta(days=days))
    for days in (39, 41):
        await received(database, datetime.now(UTC) - timedelta(days=days))
    async with database.transaction() as db:
        redriven = update(inbox).where(inbox.c.received_at < datetime.now(UTC) - timedelta(days=38))
        await db.execute(redriven.values(redrive=1))
    stop = asyncio.Event()
    cleaning = asyncio.create_task(retention.run(database, Settings(database_url="unused"), stop, declared))
    async with asyncio.timeout(5):
        while (
            len(await left(database, inbox.c.event_id)) > 2
            or len(await left(database, shipments.c.order_id)) > 1
        ):
            await asyncio.sleep(0.02)
        stop.set()
        await cleaning
    ages = [datetime.now(UTC) - at for at in await left(database, inbox.c.received_at)]
    assert [age.days for age in ages] == [39, 9]
    [at] = await left(database, shipments.c.shipped_at)
    assert (datetime.now(UTC) - at).days == 29


async def shipped(database: Database, at: datetime) -> None:
    row = {"order_id": first_id(at), "customer_id": "ada", "placed_at": at, "shipped_at": at}
    async with database.transaction() as db:
        await db.execute(insert(shipments), [row])


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


def test_effects_are_not_kept_for_less_time_than_their_events() -> None:
    with pytest.raises(ValidationError, match="closed_days is 9, less than retention_days, which is 10"):
        Settings(database_url="unused", closed_days=9)


def test_every_topic_deletes_its_records_before_rows_are_purged() -> None:
    configs = [topic.config or {} for topic in wanted({"orders"}, [("fraud", "orders")])]
    kept = {(config["retention.ms"], config["segment.ms"]) for config in configs}
    assert (len(configs), kept) == (3, {(str(REPLAY_WINDOW_MS), str(SEGMENT_MS))})
