"""The consumer state during a replay on real Postgres: cleared in one transaction, compared before and after."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from sqlalchemy import text

from chassis.consumer.inbox import claim, inbox
from chassis.consumer.offsets import BatchCounts, advance
from chassis.consumer.parking import parked
from chassis.database import Database
from chassis.service import load
from fanout.errors import BadUsage
from fanout.replay import state
from fanout.replay.state import not_ignored
from tests.integration.conftest import NewDatabase
from tests.support import sample_events
from tests.support.simulated_system import url_of

TABLES = ("steps", "order_lines", "sales", "inbox", "consumer_offsets", "parked", "crash_markers")


class TwoServices:
    """The databases of orders, which publishes OrderPlaced, and of fraud, which applies it at the given offsets."""

    def __init__(self, orders: Database, fraud: Database) -> None:
        self.orders, self.fraud = orders, fraud
        self.databases = {"orders": url_of(orders), "fraud": url_of(fraud)}

    async def publish(self, offset: int) -> UUID:
        [[event_id]] = await self._run(
            self.orders,
            "INSERT INTO outbox (event_id, topic, type, aggregate_id, headers, kafka_partition, kafka_offset) "
            f"VALUES (gen_random_uuid(), 'orders', 'OrderPlaced', 'o{offset}', '[]', 0, {offset}) "
            "RETURNING event_id",
        )
        return UUID(str(event_id))

    async def receive(self, event_id: UUID, offset: int) -> None:
        async with self.fraud.transaction() as db:
            new = await claim(db, "fraud", [(event_id, 0)])
            counts = BatchCounts(received=1, applied=len(new), duplicates=1 - len(new))
            await advance(db, "fraud", "orders", 0, offset + 1, counts)

    async def lose_receipt(self, event_id: UUID) -> None:
        await self._run(self.fraud, f"DELETE FROM inbox WHERE event_id = '{event_id}'")

    async def read(self) -> state.ConsumerSnapshot:
        return await state.read("fraud", self.databases["fraud"])

    async def not_ignored(self, before: state.ConsumerSnapshot) -> list[str]:
        return await not_ignored("fraud", self.databases, before)

    async def _run(self, database: Database, sql: str) -> list[tuple[object, ...]]:
        async with database.transaction() as db:
            result = await db.execute(text(sql))
            return [tuple(row) for row in result] if result.returns_rows else []


@pytest.fixture
async def services(new_database: NewDatabase) -> TwoServices:
    return TwoServices(await new_database("orders"), await new_database("fraud"))


@pytest.fixture
async def analytics(new_database: NewDatabase) -> AsyncIterator[Database]:
    yield await new_database("analytics")


async def filled(database: Database) -> None:
    service = load("analytics")
    await sample_events.deliver(
        database, service, sample_events.order_placed("a"), sample_events.order_confirmed("a")
    )
    async with database.transaction() as db:
        await claim(db, "analytics", [(UUID(int=1), 0)])
        await advance(db, "analytics", "orders", 0, 1, BatchCounts(received=1, applied=1))
        await db.execute(text("INSERT INTO crash_markers VALUES ('analytics', 'orders', 0, 0, 1)"))
        await db.execute(
            text(
                "INSERT INTO parked (consumer, topic, partition, kafka_offset, headers, record_at, failure, "
                "error_type, error_message, attempts, first_failed_at) "
                "VALUES ('analytics', 'orders', 0, 0, '[]', now(), 'permanent', 'Bug', '', 1, now())"
            )
        )


async def sizes(database: Database) -> set[int]:
    async with database.transaction() as db:
        return {await db.scalar(text(f"SELECT count(*) FROM {table}")) or 0 for table in TABLES}


async def blocked(database: Database) -> bool:
    async with database.transaction() as db:
        waiting = "FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        return bool(await db.scalar(text(f"SELECT count(*) {waiting}")))


async def test_events_that_are_ignored_are_no_finding(services: TwoServices) -> None:
    known = await services.publish(0)
    await services.receive(known, 0)
    before = await services.read()
    await services.receive(known, 0)
    after = await services.read()
    assert (after.counts["duplicates"], after.counts["received"], after.excess) == (1, 2, before.excess)
    assert await services.not_ignored(before) == []


async def test_an_event_that_comes_for_the_first_time_is_no_finding(services: TwoServices) -> None:
    await services.receive(await services.publish(0), 0)
    before = await services.read()
    await services.receive(await services.publish(1), 1)
    assert await services.not_ignored(before) == []


async def test_an_event_that_lay_behind_and_was_applied_is_named(services: TwoServices) -> None:
    known = await services.publish(0)
    await services.receive(known, 0)
    await services.lose_receipt(known)
    before = await services.read()
    await services.receive(known, 0)
    assert await services.not_ignored(before) == ["OrderPlaced of o0 applied (orders 0 at 0)"]


async def test_an_event_that_lay_behind_and_was_parked_is_named(services: TwoServices) -> None:
    await services.receive(await services.publish(0), 0)
    before = await services.read()
    async with services.fraud.transaction() as db:
        for offset in (0, 1):
            await db.execute(
                text(
                    "INSERT INTO parked (consumer, topic, partition, kafka_offset, type, headers, record_at, failure, "
                    "error_type, error_message, attempts, first_failed_at) VALUES ('fraud', 'orders', 0, :offset, "
                    "'OrderPlaced', '[]', now(), 'permanent', 'Bug', '', 1, now())"
                ),
                {"offset": offset},
            )
    assert await services.not_ignored(before) == ["OrderPlaced parked (orders 0 at 0)"]


async def test_a_handler_called_without_a_receipt_is_an_excess(services: TwoServices) -> None:
    before = await services.read()
    async with services.fraud.transaction() as db:
        await advance(db, "fraud", "orders", 0, 1, BatchCounts(received=1, applied=1))
    assert (await services.read()).excess == before.excess + 1


async def test_receipts_that_were_purged_are_still_counted(services: TwoServices) -> None:
    known = await services.publish(0)
    await services.receive(known, 0)
    await services.lose_receipt(known)
    async with services.fraud.transaction() as db:
        await db.execute(text("INSERT INTO purges VALUES ('inbox', now(), 1)"))
    assert (await services.read()).excess == 0


async def test_everything_of_a_read_model_is_cleared_in_one_transaction(analytics: Database) -> None:
    await filled(analytics)
    service = load("analytics")
    async with state.locked("analytics", url_of(analytics)) as db:
        async with analytics.transaction() as other:
            await other.execute(parked.select().with_for_update())
            await other.execute(inbox.select().with_for_update())
            clearing = asyncio.create_task(state.clear(db, service, None))
            async with asyncio.timeout(5):
                while not await blocked(analytics):
                    await asyncio.sleep(0.02)
            assert 0 not in await sizes(analytics)
        await clearing
    assert await sizes(analytics) == {0}


async def test_a_second_replay_is_refused_until_the_first_has_ended_however_it_ended(
    analytics: Database,
) -> None:
    url = url_of(analytics)
    with pytest.raises(RuntimeError):
        async with state.locked("analytics", url):
            with pytest.raises(BadUsage, match="another replay of analytics is running"):
                async with state.locked("analytics", url):
                    raise AssertionError
            raise RuntimeError
    async with state.locked("analytics", url):
        pass
