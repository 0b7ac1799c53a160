"""The relay sends committed rows to a real Kafka, at once and in order."""

from typing import Any

import pytest

from chassis.outbox import relay
from chassis.outbox.forward import Message
from chassis.outbox.relay import MARK_SENT, NEXT_ROWS
from chassis.outbox.relay_connection import connect
from tests.integration.conftest import NewDatabase
from tests.support.running_relay import Topics, kafka_topics, running, unsent, until, write

__all__ = ["kafka_topics"]


async def test_a_relay_that_is_woken_sends_at_once(
    new_database: NewDatabase, kafka_topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "POLL_SECONDS", 60.0)
    database = await new_database("fraud")
    topic = kafka_topics.new()

    async def all_sent() -> bool:
        return await unsent(database) == 0

    async with running(database, kafka_topics) as sender:

        async def is_active() -> bool:
            return sender.health.is_active

        await until(is_active)
        await write(database, [Message(topic, b"k", b"v", [])])
        sender.wake()
        await until(all_sent)
    assert not sender.health.is_active
    assert kafka_topics.values(topic) == [b"v"]


async def test_a_batch_costs_the_relay_two_statements(
    new_database: NewDatabase, kafka_topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def counted(database_url: str, service: str) -> Any:
        connection = await connect(database_url, service)
        connection.add_query_logger(lambda query: asked.append(query.query))
        return connection

    monkeypatch.setattr(relay, "connect", counted)
    monkeypatch.setattr(relay, "POLL_SECONDS", 60.0)
    database = await new_database("fraud")
    topic = kafka_topics.new()

    async def has_looked() -> bool:
        return asked[-1:] == [NEXT_ROWS]

    async def has_marked() -> bool:
        return asked[-1:] == [MARK_SENT]

    async with running(database, kafka_topics) as sender:
        await until(has_looked)
        for value in (b"makes the driver ask for types, once a session", b"counted"):
            asked.clear()
            await write(database, [Message(topic, b"k", value, [])])
            sender.wake()
            await until(has_marked)
        assert asked == [NEXT_ROWS, MARK_SENT]
