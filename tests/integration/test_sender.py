"""The sender delivers every message at least once, and nothing but mail waits for the mail server."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text

from chassis.config import Settings
from chassis.database import Database
from services.notifications import sender
from services.notifications.domain import MESSAGE_IDS
from services.notifications.mail_server import Delivery
from services.notifications.service import service as notifications
from services.notifications.tables import messages
from tests.integration.conftest import NewDatabase
from tests.support import sample_events
from tests.support.smtp_inbox import SmtpInbox, all_decided, rows, sending, tell, until

NOT_IDLE = text(
    "SELECT state FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'"
)
GIVEN_BACK = text("SELECT 1 FROM messages WHERE next_try_at > :since AND next_try_at <= clock_timestamp()")


@pytest.fixture
async def database(new_database: NewDatabase) -> AsyncIterator[Database]:
    yield await new_database("notifications")


@pytest.fixture
def server() -> SmtpInbox:
    return SmtpInbox()


async def test_each_message_is_one_mail(database: Database, server: SmtpInbox) -> None:
    await sample_events.deliver(
        database, notifications, sample_events.order_placed("o-1"), sample_events.order_shipped("o-1")
    )
    async with server.listening(), sending(database, server):
        await until(lambda: all_decided(database))
    first, second = server.taken
    row, _ = await sample_events.fetch(database, select(messages).order_by(messages.c.id))
    assert first["From"] == "Fanout <orders@fanout.example>"
    assert first["To"] == "c-1@customers.example"
    assert first["Message-ID"] == f"<{row['message_id']}@{MESSAGE_IDS}>"
    assert first["X-Order-ID"] == "o-1"
    assert (first["Subject"], second["Subject"]) == ("We have your order", "Your order is on its way")
    assert first.get_content().strip() == row["body"]
    assert datetime.now(UTC) - first["Date"].datetime < timedelta(minutes=1)
    assert (row["attempts"], row["last_error"]) == (1, None)


async def test_a_server_that_is_down_costs_a_message_no_attempt(
    database: Database, server: SmtpInbox
) -> None:
    async with server.listening():
        pass
    await tell(database, "c-1", "c-2")
    written = (await rows(database))["c-2"]["next_try_at"]

    async def tried_in_vain() -> bool:
        return len(await sample_events.fetch(database, GIVEN_BACK.bindparams(since=written))) == 2

    async with sending(database, server):
        await until(tried_in_vain)
        assert {(row["attempts"], row["last_error"]) for row in (await rows(database)).values()} == {
            (0, None)
        }
        async with server.listening():
            await until(lambda: all_decided(database))
    assert sorted(server.ids.values()) == [1, 1]


async def test_a_session_that_the_server_ended_is_opened_again(database: Database, server: SmtpInbox) -> None:
    async with server.listening():
        pass
    async with sending(database, server):
        for customer in ("c-1", "c-2"):
            async with server.listening():
                await tell(database, customer)
                await until(lambda: all_decided(database))
    assert sorted(server.ids.values()) == [1, 1]
    assert {row["attempts"] for row in (await rows(database)).values()} == {1}


async def test_a_crash_before_the_mark_sends_the_message_again_under_the_same_id(
    database: Database, server: SmtpInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "LEASE_SECONDS", 0.5)
    recording = asyncio.Event()

    async def never_returns(database: Database, deliveries: Mapping[int, Delivery]) -> None:
        recording.set()
        await asyncio.Event().wait()

    await tell(database, "c-1")
    async with server.listening():
        with monkeypatch.context() as crash:
            crash.setattr(sender, "record", never_returns)
            async with sending(database, server) as task:
                await recording.wait()
                task.cancel()
        assert not await all_decided(database)
        async with sending(database, server):
            await until(lambda: all_decided(database))
    assert list(server.ids.values()) == [2]


async def test_an_outage_of_postgres_while_recording_repeats_no_mail(
    database: Database, server: SmtpInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "LEASE_SECONDS", 0.1)
    failures = iter([ConnectionRefusedError("postgres is away")] * 3)
    record = sender.record

    async def sometimes(database: Database, deliveries: Mapping[int, Delivery]) -> None:
        for error in failures:
            raise error
        await record(database, deliveries)

    monkeypatch.setattr(sender, "record", sometimes)
    await tell(database, "c-1")
    async with server.listening(), sending(database, server):
        await until(lambda: all_decided(database))
    assert list(server.ids.values()) == [1]


async def test_a_slow_server_holds_no_transaction_and_no_row(database: Database, server: SmtpInbox) -> None:
    server.delay = 5
    await tell(database, "c-1", "c-2")
    async with server.listening(), sending(database, server):
        await server.busy.wait()
        assert not await sample_events.fetch(database, NOT_IDLE)
        assert await sample_events.fetch(database, select(messages).with_for_update(nowait=True))
        await tell(database, "c-3")


async def test_a_worker_that_stops_waits_for_the_delivery_in_progress(
    database: Database, server: SmtpInbox
) -> None:
    server.delay = 0.3
    await tell(database, "c-1", "c-2")
    async with server.listening():
        async with sending(database, server):
            await server.busy.wait()
        found = await rows(database)
    assert (bool(found["c-1"]["sent_at"]), bool(found["c-2"]["sent_at"])) == (True, False)
    assert list(server.asked) == ["c-1"]


async def test_a_server_that_never_answers_does_not_keep_the_worker_from_stopping(
    database: Database, server: SmtpInbox
) -> None:
    server.delay = 60
    await tell(database, "c-1")
    async with server.listening(), sending(database, server):
        await server.busy.wait()
    row = (await rows(database))["c-1"]
    assert (row["sent_at"], row["attempts"]) == (None, 1)


async def test_without_a_mail_server_no_message_is_attempted(database: Database) -> None:
    await tell(database, "c-1")
    await sender.send(database, Settings(database_url="-"), asyncio.Event())
    assert (await rows(database))["c-1"]["attempts"] == 0
