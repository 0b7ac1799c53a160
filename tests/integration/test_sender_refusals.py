"""Mail that the server refuses for good, postpones or interrupts: all other messages are sent."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from chassis.database import Database
from tests.integration.conftest import NewDatabase
from tests.support import sample_events
from tests.support.smtp_inbox import SmtpInbox, all_decided, rows, sending, tell, until


@pytest.fixture
async def database(new_database: NewDatabase) -> AsyncIterator[Database]:
    yield await new_database("notifications")


@pytest.fixture(params=[True, False], ids=["pipelining", "one by one"])
def server(request: pytest.FixtureRequest) -> SmtpInbox:
    return SmtpInbox(pipelining=request.param)


async def test_a_recipient_refused_for_good_is_recorded_and_not_tried_again(
    database: Database, server: SmtpInbox
) -> None:
    server.answers["c-2"] = "550 5.1.1 no such customer"
    await tell(database, "c-1", "c-2", "c-3")
    async with server.listening(), sending(database, server):
        await until(lambda: all_decided(database))
        await tell(database, "c-4")
        await until(lambda: all_decided(database))
    found = await rows(database)
    assert (found["c-2"]["sent_at"], found["c-2"]["last_error"]) == (None, "550 5.1.1 no such customer")
    assert server.asked == {"c-1": 1, "c-2": 1, "c-3": 1, "c-4": 1}
    assert all(found[customer]["sent_at"] for customer in ("c-1", "c-3", "c-4"))


async def test_a_postponed_recipient_is_tried_again_after_longer_and_longer_pauses(
    database: Database, server: SmtpInbox
) -> None:
    server.answers["c-1"] = "451 4.3.0 greylisted"
    await tell(database, "c-1", "c-2")

    async def tried_twice() -> bool:
        return bool((await rows(database))["c-1"]["attempts"] == 2)

    async with server.listening(), sending(database, server):
        await until(tried_twice)
        row = (await rows(database))["c-1"]
        assert row["last_error"] == "451 4.3.0 greylisted" and row["sent_at"] is None
        del server.answers["c-1"]
        await until(lambda: all_decided(database))
    assert [mail["To"] for mail in server.taken] == ["c-2@customers.example", "c-1@customers.example"]


@pytest.mark.parametrize("customer", ["c\r\nBcc: everybody@customers.example", "\r\n.\r\nMAIL FROM:<x@y>"])
async def test_a_customer_id_cannot_add_a_header_or_a_command(
    database: Database, server: SmtpInbox, customer: str
) -> None:
    await tell(database, customer, "c-2")
    async with server.listening(), sending(database, server):
        await until(lambda: all_decided(database))
    assert [mail["To"] for mail in server.taken] == ["c-2@customers.example"]
    row = (await rows(database))[customer]
    assert row["refused_at"] and "cannot be written as an e-mail" in row["last_error"]


async def test_lines_of_a_body_are_only_lines_of_a_body(database: Database, server: SmtpInbox) -> None:
    await tell(database, "c-1")
    await sample_events.change(
        database, r"UPDATE messages SET body = E'one\r\n.\r\nRSET\r\n..two\n\nSubject: three'"
    )
    async with server.listening(), sending(database, server):
        await until(lambda: all_decided(database))
    (mail,) = server.taken
    assert mail.get_content().split() == ["one", ".", "RSET", "..two", "Subject:", "three"]


async def test_a_message_that_makes_the_server_hang_up_does_not_stop_the_others(
    database: Database, server: SmtpInbox
) -> None:
    server.hangs_up_on = {"c-1"}
    await tell(database, "c-1", "c-2", "c-3")
    async with server.listening(), sending(database, server):
        await until(lambda: sent(database, "c-2", "c-3"))
        row = (await rows(database))["c-1"]
        assert row["attempts"] >= 1 and not row["refused_at"]
        server.hangs_up_on = set()
        await until(lambda: all_decided(database))
    assert set(server.ids.values()) == {1}


async def sent(database: Database, *customers: str) -> bool:
    found = await rows(database)
    return all(found[customer]["sent_at"] for customer in customers)


async def test_a_server_that_closes_its_service_is_unavailable_and_no_message_is_refused(
    database: Database, server: SmtpInbox
) -> None:
    server.answers["c-1"] = "421 4.3.2 shutting down"
    await tell(database, "c-1", "c-2")
    async with server.listening(), sending(database, server):
        await until(lambda: asked(server, "c-1"))
        assert not await sample_events.fetch(
            database, text("SELECT 1 FROM messages WHERE refused_at IS NOT NULL")
        )
        server.answers.clear()
        await until(lambda: sent(database, "c-1", "c-2"))
    assert (await rows(database))["c-2"]["attempts"] == 1


@pytest.mark.parametrize("answer", ["550 5.7.1 no relaying", "451 4.3.0 busy"])
async def test_a_server_that_refuses_the_sender_is_unavailable_and_no_message_is_refused(
    database: Database, server: SmtpInbox, answer: str
) -> None:
    server.answer_to_sender = answer
    await tell(database, "c-1", "c-2")

    async def tried() -> bool:
        return bool((await rows(database))["c-1"]["attempts"])

    async with server.listening(), sending(database, server):
        await until(tried)
        server.answer_to_sender = "250 OK"
        await until(lambda: sent(database, "c-1", "c-2"))
    assert (await rows(database))["c-2"]["attempts"] == 1


async def asked(server: SmtpInbox, customer: str) -> bool:
    return server.asked[customer] > 0
