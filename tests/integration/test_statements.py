"""Statements take any number of rows, of every type that our tables have."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Integer,
    MetaData,
    Table,
    Text,
    any_,
    insert,
    select,
)

from chassis.database import Database, Statement, arrays, ids
from tests.integration.conftest import NewDatabase

metadata = MetaData()
things = Table(
    "things",
    metadata,
    Column("thing_id", Text, primary_key=True),
    Column("number", BigInteger),
    Column("small", Integer),
    Column("is_good", Boolean),
    Column("at", DateTime(timezone=True)),
    Column("contents", JSON),
)
_given = arrays(things)
INSERT = Statement(
    insert(things).from_select(_given.c.keys(), select(_given)).returning(things.c.thing_id, things.c.number)
)
FIND = Statement(
    select(things)
    .where(things.c.thing_id == any_(ids()), things.c.is_good, things.c.number > 0)
    .order_by(things.c.thing_id)
)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
async def database(new_database: NewDatabase) -> AsyncIterator[Database]:
    database = await new_database("fraud")
    async with database.engine.begin() as connection:
        await connection.run_sync(things.create)
    yield database


def thing(number: int) -> dict[str, object]:
    contents = [{"product": f"p-{number}", "quantity": number}] if number % 2 else None
    return {
        "thing_id": f"t-{number:04}",
        "number": 2**40 + number,
        "small": None if number == 3 else number,
        "is_good": number % 5 != 0,
        "at": NOON,
        "contents": contents,
    }


async def test_any_number_of_rows_is_inserted_at_once_and_read_back_unchanged(database: Database) -> None:
    made = [thing(number) for number in range(1, 501)]
    async with database.transaction() as db:
        written = await INSERT.of_rows(db, made)
        found = await FIND(db, ids=[f"t-{number:04}" for number in range(1, 8)])
        contents = (await db.execute(select(things.c.contents).order_by(things.c.thing_id))).scalars().all()
    assert [row.number for row in written] == [row["number"] for row in made]
    assert [dict(row) | {"contents": None} for row in found] == [
        row | {"contents": None} for row in made[:7] if row["is_good"]
    ]
    assert contents == [row["contents"] for row in made]


async def test_a_missing_parameter_is_an_error_before_anything_is_sent(database: Database) -> None:
    async with database.transaction() as db:
        with pytest.raises(KeyError):
            await FIND(db)
