"""Rounds of the sender: messages share a session and a round, and several senders share the messages."""

import time
from collections import Counter
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

from chassis.database import Database
from services.notifications import sender
from services.notifications.domain import Message
from tests.integration.conftest import NewDatabase
from tests.support.smtp_inbox import SmtpInbox, all_decided, sending, tell, until


@pytest.fixture
async def database(new_database: NewDatabase) -> AsyncIterator[Database]:
    yield await new_database("notifications")


@pytest.fixture
def server() -> SmtpInbox:
    return SmtpInbox()


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The batch size, and the number of messages taken, of each round that had messages."""
    rounds: list[tuple[int, int]] = []
    take = sender.take

    async def noted(database: Database, batch_size: int) -> list[Message]:
        batch = await take(database, batch_size)
        if batch:
            rounds.append((batch_size, len(batch)))
        return batch

    monkeypatch.setattr(sender, "take", noted)
    return rounds


async def test_two_senders_share_the_messages_and_repeat_none(database: Database, server: SmtpInbox) -> None:
    customers = [f"c-{number}" for number in range(200)]
    await tell(database, *customers)
    async with server.listening(), sending(database, server), sending(database, server):
        await until(lambda: all_decided(database))
    assert server.asked == Counter(customers)
    assert len(server.connections) == 2


async def test_messages_are_sent_in_the_order_in_which_they_were_written(
    database: Database, server: SmtpInbox
) -> None:
    customers = [f"c-{number}" for number in range(120)]
    await tell(database, *customers)
    async with server.listening(), sending(database, server):
        await until(lambda: all_decided(database))
    assert [mail["To"].partition("@")[0] for mail in server.taken] == customers
    assert len(server.connections) == 1


async def test_messages_that_come_one_by_one_share_a_round(
    database: Database, server: SmtpInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    began: list[float] = []
    take = sender.take

    async def timed(database: Database, batch_size: int) -> list[Message]:
        began.append(time.monotonic())
        return await take(database, batch_size)

    monkeypatch.setattr(sender, "take", timed)
    async with server.listening(), sending(database, server):
        for number in range(3):
            await tell(database, f"c-{number}")
            await until(lambda: all_decided(database))
    assert all(later - earlier >= sender.ROUND_INTERVAL_SECONDS for earlier, later in pairwise(began))


async def test_a_round_takes_more_when_many_are_waiting_and_the_server_is_quick(
    database: Database, server: SmtpInbox, taken: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "ROUND_SECONDS", 30)
    monkeypatch.setattr(sender, "MIN_BATCH", 2)
    monkeypatch.setattr(sender, "MAX_BATCH", 10)
    await tell(database, *(f"c-{number}" for number in range(26)))
    async with server.listening(), sending(database, server):
        await until(lambda: all_decided(database))
    assert taken == [(2, 2), (4, 4), (8, 8), (10, 10), (10, 2)]


async def test_a_round_takes_few_when_the_server_is_slow(
    database: Database, server: SmtpInbox, taken: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "ROUND_SECONDS", 0.1)
    monkeypatch.setattr(sender, "MIN_BATCH", 3)
    server.delay = 0.2
    await tell(database, *(f"c-{number}" for number in range(6)))
    async with server.listening(), sending(database, server):
        await until(lambda: all_decided(database))
    assert {batch_size for batch_size, _ in taken} == {3}
    assert server.asked == Counter(f"c-{number}" for number in range(6))
