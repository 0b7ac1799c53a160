"""The outbox on a real Postgres: a change and its event are one transaction, in the order of the aggregate."""

import asyncio
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from asyncpg import UniqueViolationError
from sqlalchemy import Column, Integer, MetaData, Table, Text, insert, select, update

from chassis.database import Database
from chassis.events.validation import InvalidEvent
from chassis.outbox.forward import Message, forward
from chassis.outbox.publish import publish
from chassis.outbox.relay import BATCH, BATCH_BYTES, NEXT_ROWS
from chassis.outbox.table import dump_headers, load_headers, outbox
from schemas import FraudAssessed
from tests.integration.conftest import NewDatabase

metadata = MetaData()
accounts = Table("accounts", metadata, Column("id", Text, primary_key=True), Column("version", Integer))


def fact(order_id: str, version: int) -> FraudAssessed:
    return FraudAssessed(
        order_id=order_id, assessment_version=version, occurred_at=0, score=0, suspicious=False, rules=()
    )


async def prepare(database: Database, ids: str) -> None:
    async with database.engine.begin() as connection:
        await connection.run_sync(accounts.create)
        await connection.execute(insert(accounts), [{"id": key, "version": 0} for key in ids])


async def bump(database: Database, key: str) -> None:
    async with database.transaction() as db:
        change = update(accounts).where(accounts.c.id == key).values(version=accounts.c.version + 1)
        version = await db.scalar(change.returning(accounts.c.version))
        await publish(db, [fact(key, version or 0)])


@pytest.mark.parametrize(
    "changes",
    [{"score": 2**31}, {"score": 0.5}, {"suspicious": "no"}, {"rules": "abc"}, {"order_id": "\ud800"}],
)
async def test_an_event_that_does_not_fit_its_contract_leaves_nothing_in_the_outbox(
    new_database: NewDatabase, changes: dict[str, Any]
) -> None:
    """Even in a transaction that commits all the same."""
    database = await new_database("fraud")
    async with database.transaction() as db:
        with pytest.raises(InvalidEvent):
            await publish(db, [fact("a", 1), replace(fact("b", 1), **changes)])
    async with database.transaction() as db:
        assert (await db.execute(select(outbox))).all() == []


async def test_ids_follow_versions_under_concurrent_writers(new_database: NewDatabase) -> None:
    database = await new_database("fraud")
    await prepare(database, "abc")
    await asyncio.gather(*(bump(database, key) for key in "abc" * 40))
    async with database.transaction() as db:
        rows = (await db.execute(select(outbox).order_by(outbox.c.id))).all()
    assert len(rows) == 120
    for key in "abc":
        versions = [row.aggregate_version for row in rows if row.aggregate_id == key]
        assert versions == list(range(1, 41))


async def test_an_event_of_a_rolled_back_transaction_is_not_published(new_database: NewDatabase) -> None:
    database = await new_database("fraud")
    with pytest.raises(RuntimeError):
        async with database.transaction() as db:
            await publish(db, [fact("a", 1)])
            raise RuntimeError
    async with database.transaction() as db:
        assert (await db.execute(select(outbox))).all() == []


async def test_two_facts_of_one_version_are_an_error_not_a_reordering(new_database: NewDatabase) -> None:
    database = await new_database("fraud")
    with pytest.raises(UniqueViolationError, match="outbox_one_fact_per_version"):
        async with database.transaction() as db:
            await publish(db, [fact("a", 1), fact("a", 1)])


async def test_event_ids_grow_with_time(new_database: NewDatabase) -> None:
    database = await new_database("fraud")
    async with database.transaction() as db:
        await publish(db, [fact("a", version) for version in range(1, 50)])
        ids = (await db.execute(select(outbox.c.event_id).order_by(outbox.c.id))).scalars().all()
    assert all(earlier < later for earlier, later in pairwise(ids))


def test_header_bytes_survive_storage() -> None:
    headers = [("a", bytes(range(256))), ("a", b""), ("\x00", None)]
    assert load_headers(dump_headers(headers)) == headers


@pytest.mark.parametrize(
    ("sizes", "at_once"),
    [([1] * 5, 5), ([2**20] * 20, 8), ([2**24, 1], 1), ([1, 2**24, 1], 2)],
    ids=["small", "a mebibyte each", "one beyond the limit", "one beyond the limit between small ones"],
)
async def test_the_relay_takes_no_more_at_once_than_fits_in_memory(
    new_database: NewDatabase, sizes: list[int], at_once: int
) -> None:
    database = await new_database("fraud")
    async with database.transaction() as db:
        await forward(db, [Message("fraud", None, bytes(size), []) for size in sizes])
        connection = (await db.get_raw_connection()).driver_connection
        assert connection is not None
        rows = await connection.fetch(NEXT_ROWS, BATCH, BATCH_BYTES)
    assert [len(row["payload"]) for row in rows] == sizes[:at_once]
