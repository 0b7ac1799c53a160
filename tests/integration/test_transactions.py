"""A failed transaction is never taken for committed, and a relay in another process is notified of a commit."""

import asyncio
from contextlib import nullcontext, suppress

import asyncpg
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from chassis.database import OUTBOX_CHANNEL, Database, TransactionLost
from chassis.errors import FailureClass, classify
from chassis.outbox.publish import publish
from chassis.outbox.table import outbox
from tests.integration.conftest import NewDatabase
from tests.support import sample_events


async def test_a_transaction_with_a_swallowed_error_is_not_taken_for_committed(
    new_database: NewDatabase,
) -> None:
    database = await new_database("fraud")
    with pytest.raises(TransactionLost):
        async with database.transaction() as db:
            await publish(db, [sample_events.order_confirmed("o-1")])
            with suppress(DBAPIError):
                await db.execute(text("SELECT 1 / 0"))
    assert await published(database) == 0


@pytest.mark.parametrize("goes_on", [False, True], ids=["which raises", "whose error is swallowed"])
async def test_a_connection_lost_in_a_statement_is_an_outage(
    new_database: NewDatabase, goes_on: bool
) -> None:
    database = await new_database("fraud")
    with pytest.raises(Exception) as raised:
        async with database.transaction() as db:
            with suppress(DBAPIError) if goes_on else nullcontext():
                await db.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
            await db.execute(text("SELECT 1"))
    assert classify(raised.value) is FailureClass.INFRASTRUCTURE
    assert await published(database) == 0


@pytest.mark.parametrize(("relay_is_here", "notifications"), [(False, 1), (True, 0)])
async def test_a_relay_in_another_process_is_notified_after_the_commit(
    new_database: NewDatabase, relay_is_here: bool, notifications: int
) -> None:
    database = await new_database("fraud")
    database.wake_relay = lambda: relay_is_here
    notified: list[int] = []
    listener = await asyncpg.connect(
        database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    )
    await listener.add_listener(OUTBOX_CHANNEL, lambda *_: notified.append(1))
    async with database.transaction() as db:
        await publish(db, [sample_events.order_confirmed("o-1")])
    done = asyncio.Event()
    await listener.add_listener("done", lambda *_: done.set())
    async with database.transaction() as db:
        await db.execute(text("SELECT pg_notify('done', '')"))
    async with asyncio.timeout(5):
        await done.wait()
    await listener.close()
    assert len(notified) == notifications
    assert await published(database) == 1


async def published(database: Database) -> int:
    async with database.transaction() as db:
        return await db.scalar(select(func.count()).select_from(outbox)) or 0
