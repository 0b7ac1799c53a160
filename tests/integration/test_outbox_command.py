"""`fanout outbox` on a real database: what cannot be sent is shown, tried again, or discarded for a reason."""

import asyncio
import json
import re
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import insert
from typer.testing import CliRunner, Result

from chassis.database import Database
from chassis.outbox.table import outbox
from fanout.commands import outbox as outbox_command
from fanout.errors import BadUsage, FanoutError, UnknownService
from fanout.lag.services import ServiceDatabases
from tests.integration.conftest import NewDatabase
from tests.support.running_relay import fetch


@pytest.fixture
async def database(new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch) -> Database:
    """Row 1 cannot be sent, row 2 waits."""
    database = await new_database("fraud")
    addresses = SimpleNamespace(databases=databases(database))
    monkeypatch.setattr(outbox_command, "running", lambda: addresses)
    row = {
        "topic": "fraud",
        "key": b"k",
        "headers": '[["ce_type", "FraudAssessed"]]',
        "type": "FraudAssessed",
    }
    rows = [row | {"event_id": uuid4(), "aggregate_id": f"order-{n}", "aggregate_version": 1} for n in (1, 2)]
    async with database.engine.begin() as db:
        await db.execute(insert(outbox), rows)
    error = "error_type = 'MSG_SIZE_TOO_LARGE', error_message = 'too \x1b[31m large'"
    await fetch(database, f"UPDATE outbox SET set_aside_at = now(), {error} WHERE id = 1 RETURNING 1")
    return database


def databases(database: Database) -> dict[str, str]:
    return {"fraud": database.engine.url.render_as_string(hide_password=False)}


async def invoke(*arguments: str) -> Result:
    return await asyncio.to_thread(lambda: CliRunner().invoke(outbox_command.command, arguments))


async def row(database: Database) -> Any:
    [found] = await fetch(database, "SELECT * FROM outbox WHERE id = 1")
    return found


async def test_rows_are_listed_with_their_reason(database: Database) -> None:
    listed = await invoke("ls", "--json")
    [found] = json.loads(listed.stdout)["rows"]
    assert (found["service"], found["id"], found["error_type"]) == ("fraud", 1, "MSG_SIZE_TOO_LARGE")
    table = (await invoke("ls", "fraud")).stdout
    assert "order-1" in table and "order-2" not in table and "\x1b" not in table
    assert isinstance((await invoke("ls", "frod")).exception, UnknownService)


async def test_a_row_is_shown_whole(database: Database) -> None:
    shown = json.loads((await invoke("show", "fraud", "1", "--json")).stdout)
    assert shown["headers"] == {"ce_type": "FraudAssessed"}
    assert shown["aggregate_id"] == "order-1"
    assert "error_type: MSG_SIZE_TOO_LARGE" in (await invoke("show", "fraud", "1")).stdout
    assert isinstance((await invoke("show", "fraud", "9")).exception, FanoutError)


async def test_a_row_is_handed_to_the_relay_again(database: Database) -> None:
    assert (await invoke("retry", "fraud", "1")).stdout == "handed to the relay again: 1 row\n"
    assert ((await row(database)).set_aside_at, (await row(database)).error_type) == (None, None)
    await fetch(database, "UPDATE outbox SET created_at = now() - interval '70 s' WHERE id = 1 RETURNING 1")
    await fetch(database, "UPDATE outbox SET created_at = now() + interval '9 s' WHERE id = 2 RETURNING 1")
    said = (await invoke("ls")).stdout
    assert re.fullmatch(r"no row is set aside; 1 is not yet sent, for 7\d s\n", said), said
    unsent = json.loads((await invoke("ls", "--json")).stdout)["unsent"]
    assert unsent["rows"] == 1 and 70 <= unsent["oldest_seconds"] < 80


async def test_a_row_is_discarded_for_a_reason_and_that_is_final(database: Database) -> None:
    assert isinstance((await invoke("discard", "fraud", "1")).exception, SystemExit), "a reason is asked for"
    done = await invoke("discard", "fraud", "--all", "--why", "a test order", "--who", "ann")
    assert done.stdout == "discarded: 1 row\n"
    found = await row(database)
    assert (found.discarded_by, found.discard_reason) == ("ann", "a test order")
    refusal = (await invoke("retry", "fraud", "1")).exception
    assert isinstance(refusal, FanoutError) and "rows 1 of fraud are not set aside" in str(refusal)


async def test_all_rows_or_none(database: Database) -> None:
    refusal = (await invoke("discard", "fraud", "1", "2", "--why", "both")).exception
    assert isinstance(refusal, FanoutError) and "rows 2 of fraud are not set aside" in str(refusal)
    assert (await row(database)).discarded_at is None
    for wrong in (["retry", "fraud"], ["retry", "fraud", "1", "--all"]):
        assert isinstance((await invoke(*wrong)).exception, BadUsage)


async def test_lag_counts_them_apart(database: Database) -> None:
    facts = ServiceDatabases(databases(database))
    backlog = (await facts.facts("fraud")).outbox
    assert (backlog.unsent, backlog.set_aside) == (1, 1)
    await invoke("discard", "fraud", "1", "--why", "a test order")
    backlog = (await facts.facts("fraud")).outbox
    facts.close()
    assert (backlog.unsent, backlog.set_aside) == (1, 0)
