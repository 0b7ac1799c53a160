"""Migrations: run on an empty database they lead to the declared tables; a database of another version is refused."""

from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, Table, text

from chassis.migrations import UnknownRevision, differences, migrate
from chassis.service import load
from tests.integration.conftest import NewDatabase

SERVICES = sorted(folder.parent.name for folder in Path("services").glob("*/service.py"))


@pytest.mark.parametrize("name", SERVICES)
async def test_migrations_and_tables_agree(name: str, new_database: NewDatabase) -> None:
    database = await new_database(name)
    url = database.engine.url.render_as_string(hide_password=False)
    assert await differences(load(name), url) == []
    assert await migrate(load(name), url) == [], "a second run changes nothing"


async def test_a_table_without_a_migration_is_reported(new_database: NewDatabase) -> None:
    database = await new_database("fraud")
    fraud = load("fraud")
    forgotten = Table("forgotten", fraud.metadata, Column("id", Integer, primary_key=True))
    try:
        found = await differences(fraud, database.engine.url.render_as_string(hide_password=False))
    finally:
        fraud.metadata.remove(forgotten)
    assert any("forgotten" in str(difference) for difference in found)


async def test_a_column_that_is_not_declared_is_reported(new_database: NewDatabase) -> None:
    database = await new_database("fraud")
    async with database.transaction() as db:
        await db.execute(text("ALTER TABLE outbox ADD COLUMN undeclared int"))
    found = await differences(load("fraud"), database.engine.url.render_as_string(hide_password=False))
    assert any("undeclared" in str(difference) for difference in found)


@pytest.mark.parametrize("version_table", ["chassis_version", "service_version"])
async def test_a_database_of_another_version_is_refused_in_one_sentence_and_left_as_it_is(
    version_table: str, new_database: NewDatabase
) -> None:
    database = await new_database("fraud")
    async with database.transaction() as db:
        await db.execute(text(f"UPDATE {version_table} SET version_num = '0999'"))
    with pytest.raises(UnknownRevision) as refusal:
        await migrate(load("fraud"), database.engine.url.render_as_string(hide_password=False))
    assert "\n" not in str(refusal.value)
    assert f"the database of fraud is from another version of Fanout ({version_table} is 0999" in str(
        refusal.value
    )
    assert "`fanout down --wipe`" in str(refusal.value)
    async with database.transaction() as db:
        assert await db.scalar(text(f"SELECT version_num FROM {version_table}")) == "0999"


async def test_keys_from_before_there_were_principals_are_their_customers_or_nobodys(
    new_database: NewDatabase,
) -> None:
    database = await new_database("orders")
    async with database.transaction() as db:
        for statement in BEFORE_PRINCIPALS:
            await db.execute(text(statement))
    changed = await migrate(load("orders"), database.engine.url.render_as_string(hide_password=False))
    assert changed == ["chassis_version"]
    async with database.transaction() as db:
        kept = await db.execute(text("SELECT key, principal, status FROM idempotency_keys ORDER BY key"))
        assert [tuple(row) for row in kept] == [
            ("answered", "customer:ada", 201),
            ("claimed", "", 201),
            ("of a payment", "", 201),
        ]


BEFORE_PRINCIPALS = (
    "DROP TABLE resends",
    "DROP INDEX inbox_other_ids",
    "DROP TABLE topic_ids",
    "ALTER TABLE outbox DROP COLUMN topic_id",
    "ALTER TABLE consumer_offsets DROP COLUMN topic_id, DROP COLUMN lost",
    "ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_pkey",
    "ALTER TABLE idempotency_keys DROP COLUMN principal",
    "ALTER TABLE idempotency_keys ADD PRIMARY KEY (key)",
    "UPDATE chassis_version SET version_num = '0002'",
    """
    INSERT INTO idempotency_keys (key, fingerprint, status, body) VALUES
        ('answered', '', 201, convert_to('{"order_id"\\:"o-1","customer_id"\\:"ada"}', 'UTF8')),
        ('of a payment', '', 201, convert_to('{"payment_id"\\:"p-1"}', 'UTF8')),
        ('claimed', '', 201, NULL)
    """,
)
