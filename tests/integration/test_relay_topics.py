"""The relay stores with each sent row which topic it is in, also if the topic is deleted and made anew meanwhile."""

import asyncio
from collections.abc import Iterable
from typing import Any
from uuid import UUID

import pytest

from chassis.database import Database
from chassis.events.kafka_topics import KafkaTopics
from chassis.outbox.forward import Message
from tests.integration.conftest import NewDatabase
from tests.support.running_relay import Topics, fetch, kafka_topics, running, unsent, until, write

__all__ = ["kafka_topics"]

SENT = "SELECT kafka_offset, topic_id FROM outbox WHERE published_at IS NOT NULL ORDER BY id"
SEEN = "SELECT topic_id FROM topic_ids WHERE topic = :topic ORDER BY first_seen_at"


def message(topic: str, value: bytes) -> Message:
    return Message(topic, b"k", value, [])


async def send(database: Database, *messages: Message) -> None:
    await write(database, messages)

    async def all_sent() -> bool:
        return await unsent(database) == 0

    await until(all_sent, 30)


async def id_of(topics: Topics, topic: str) -> UUID:
    return (await KafkaTopics(topics.broker).ids([topic]))[topic]


async def make_anew(topics: Topics, topic: str) -> UUID:
    topics.delete(topic)

    async def is_made() -> bool:
        try:
            topics.new(topic)
        except Exception as error:
            assert "ALREADY_EXISTS" in str(error) or "marked for deletion" in str(error)
            return False
        return True

    await until(is_made)
    return await id_of(topics, topic)


async def test_each_row_has_the_id_of_the_topic_that_its_offset_counts_in(
    new_database: NewDatabase, kafka_topics: Topics
) -> None:
    database, topic = await new_database("fraud"), kafka_topics.new()
    first = await id_of(kafka_topics, topic)
    async with running(database, kafka_topics):
        await send(database, message(topic, b"1"), message(topic, b"2"))
        second = await make_anew(kafka_topics, topic)
        await send(database, message(topic, b"3"))
    found = [tuple(row) for row in await fetch(database, SENT)]
    assert first != second and found[:2] == [(0, first), (1, first)]
    assert found[2][1] == second
    assert b"3" in kafka_topics.values(topic)
    assert [row.topic_id for row in await fetch(database, SEEN, topic=topic)] == [first, second]


async def test_a_message_that_may_be_in_a_topic_that_is_gone_is_sent_again(
    new_database: NewDatabase, kafka_topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The topic is made anew after the message is delivered and before the relay asks for the topic's id."""
    database, topic = await new_database("fraud"), kafka_topics.new()
    ids, made = KafkaTopics.ids, list[UUID]()

    async def ids_of_topic_made_anew(self: KafkaTopics, topics: Iterable[str]) -> Any:
        if not made:
            made.append(UUID(int=0))
            made[0] = await make_anew(kafka_topics, topic)
        return await ids(self, topics)

    async with running(database, kafka_topics):
        await send(database, message(topic, b"1"))
    monkeypatch.setattr(KafkaTopics, "ids", ids_of_topic_made_anew)
    async with running(database, kafka_topics):
        await send(database, message(topic, b"2"))
    assert kafka_topics.values(topic)[-1:] == [b"2"]
    assert [row.topic_id for row in await fetch(database, SENT)][-1] == made[0]


async def test_kafka_is_asked_only_at_the_first_message_of_a_partition(
    new_database: NewDatabase, kafka_topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, topic = await new_database("fraud"), kafka_topics.new()
    ids, asked = KafkaTopics.ids, list[set[str]]()

    async def counted(self: KafkaTopics, topics: Iterable[str]) -> Any:
        asked.append(set(topics))
        return await ids(self, asked[-1])

    monkeypatch.setattr(KafkaTopics, "ids", counted)
    async with running(database, kafka_topics):
        for number in range(5):
            await send(database, message(topic, b"%d" % number))
            await asyncio.sleep(0.01)
    assert asked == [{topic}]
