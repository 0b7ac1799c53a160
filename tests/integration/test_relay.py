"""The relay on a real Kafka: what is committed arrives, at once and in order."""

import pytest

from chassis import relay
from chassis.outbox import Message
from tests.integration.conftest import NewDatabase
from tests.integration.relaying import Topics, kafka_topics, running, unsent, until, write

__all__ = ["kafka_topics"]


async def test_a_relay_that_is_woken_sends_at_once(
    new_database: NewDatabase, kafka_topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "SAFETY_POLL_SECONDS", 60.0)
    database = await new_database("fraud")
    topic = kafka_topics.new()

    async def all_sent() -> bool:
        return await unsent(database) == 0

    async with running(database, kafka_topics) as sender:

        async def is_active() -> bool:
            return sender.is_active

        await until(is_active)
        await write(database, [Message(topic, b"k", b"v", [])])
        sender.wake()
        await until(all_sent)
    assert not sender.is_active
    assert kafka_topics.values(topic) == [b"v"]
