"""Every service's migrations, run on an empty database, lead to the tables its code declares."""

from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, Table, text

from chassis.migrations import differences, migrate
from chassis.service import load
from tests.integration.conftest import NewDatabase

SERVICES = sorted(folder.parent.name for folder in Path("services").glob("*/service.py"))


@pytest.mark.parametrize("name", SERVICES)
async def test_migrations_and_tables_agree(name: str, new_database: NewDatabase) -> None:
    database = await new_database(name)
    url = database.engine.url.render_as_string(hide_password=False)
    assert await differences(load(name), url) == []
    assert await migrate(load(name), url) == [], "a second run changes nothing"


async def test_a_table_that_no_migration_makes_is_noticed(new_database: NewDatabase) -> None:
    database = await new_database("fraud")
    fraud = load("fraud")
    forgotten = Table("forgotten", fraud.metadata, Column("id", Integer, primary_key=True))
    try:
        found = await differences(fraud, database.engine.url.render_as_string(hide_password=False))
    finally:
        fraud.metadata.remove(forgotten)
    assert any("forgotten" in str(difference) for difference in found)


async def test_a_column_that_no_model_knows_is_noticed(new_database: NewDatabase) -> None:
    database = await new_database("fraud")
    async with database.transaction() as db:
        await db.execute(text("ALTER TABLE outbox ADD COLUMN surplus int"))
    found = await differences(load("fraud"), database.engine.url.render_as_string(hide_password=False))
    assert any("surplus" in str(difference) for difference in found)
