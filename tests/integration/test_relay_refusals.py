"""A row that can never be sent is set aside, and delays only later events of its own topic and key."""

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import insert

from chassis.database import Database
from chassis.outbox import upkeep
from chassis.outbox.forward import Message
from chassis.outbox.table import outbox
from tests.integration.conftest import NewDatabase
from tests.support.running_relay import Topics, fetch, kafka_topics, running, unsent, until, write

__all__ = ["kafka_topics"]

TOO_LARGE = 3 * 2**20


@pytest.fixture
async def database(new_database: NewDatabase) -> Database:
    return await new_database("fraud")


async def set_aside(database: Database) -> list[Any]:
    return await fetch(
        database,
        "SELECT id, topic, key, error_type, error_message FROM outbox WHERE set_aside_at IS NOT NULL ORDER BY id",
    )


async def sent_but(database: Database, topics: Topics, left: int, seconds: float = 15) -> None:
    """Runs a relay until so many rows are left, and no longer."""

    async def is_done() -> bool:
        return await unsent(database) <= left

    async with running(database, topics):
        await until(is_done, seconds)
    assert await unsent(database) == left


async def write_row(database: Database, **columns: Any) -> None:
    row = {"event_id": uuid4(), "headers": "[]", "key": b"k", "payload": b"v"} | columns
    async with database.engine.begin() as db:
        await db.execute(insert(outbox), [row])


async def test_a_row_over_our_own_limit_is_set_aside(database: Database, kafka_topics: Topics) -> None:
    topic = kafka_topics.new()
    values = [b"1", bytes(TOO_LARGE), b"2"]
    await write(database, [Message(topic, str(n).encode(), value, []) for n, value in enumerate(values)])
    await sent_but(database, kafka_topics, left=1)
    assert kafka_topics.values(topic) == [b"1", b"2"]
    [row] = await set_aside(database)
    assert (row.topic, row.error_type) == (topic, "MSG_SIZE_TOO_LARGE")


async def test_only_the_culprit_of_a_batch_that_kafka_refuses_is_set_aside(
    database: Database, kafka_topics: Topics
) -> None:
    topic, other = kafka_topics.new(max_message_bytes="2000"), kafka_topics.new()
    values = [b"1", b"2", bytes(3_000), b"3", *[b"4" * 500] * 10]
    messages = [Message(topic, str(n).encode(), value, []) for n, value in enumerate(values)]
    await write(database, [*messages, Message(other, b"k", b"5", [])])
    await sent_but(database, kafka_topics, left=1)
    assert kafka_topics.values(topic) == [value for value in values if len(value) < 3_000]
    assert kafka_topics.values(other) == [b"5"]
    [row] = await set_aside(database)
    assert row.error_type == "MSG_SIZE_TOO_LARGE"


async def test_rows_for_a_missing_topic_name_it_and_are_sent_once_it_exists(
    database: Database, kafka_topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "RETRY_TOPICS_SECONDS", 0.0)
    there, deleted = kafka_topics.new(), kafka_topics.new()
    kafka_topics.delete(deleted)
    messages = [Message(topic, b"k", value, []) for value in (b"1", b"2") for topic in (deleted, there)]
    await write(database, messages)

    async def went_out() -> bool:
        return await unsent(database) == 2

    async def all_went_out() -> bool:
        return await unsent(database) == 0

    async def health_shows_them() -> Any:
        return sender.health.status["set_aside"] == 2

    async with running(database, kafka_topics) as sender:
        await until(went_out)
        rows = await until(lambda: set_aside(database))
        assert {(row.topic, row.error_message) for row in rows} == {
            (deleted, f"Kafka has no topic {deleted}")
        }
        assert len(rows) == 2
        await until(health_shows_them)
        kafka_topics.new(deleted)
        await until(all_went_out, 30)
    assert kafka_topics.values(there) == kafka_topics.values(deleted) == [b"1", b"2"]


@pytest.mark.parametrize(
    ("columns", "error_type"),
    [
        ({"type": "OrderTeleported", "schema_version": 1}, "SchemaNotRegistered"),
        ({"type": "../no / type ?", "schema_version": 1}, "SchemaNotRegistered"),
        ({"type": "OrderTeleported"}, "SchemaNotRegistered"),
        ({"type": "FraudAssessed"}, "SchemaNotRegistered"),
        ({"type": "FraudAssessed", "schema_version": -1}, "SchemaNotRegistered"),
        ({"type": "FraudAssessed", "schema_version": 99}, "SchemaNotRegistered"),
        ({"headers": "{broken"}, "UnreadableHeaders"),
        ({"headers": '[["name", "\u20ac"]]'}, "UnreadableHeaders"),
        ({"headers": "[1]"}, "UnreadableHeaders"),
        ({"topic": "no topic / has this name"}, "TOPIC_EXCEPTION"),
        ({"type": "FraudAssessed", "schema_version": 1, "payload": None}, "TypeError"),
    ],
    ids=[
        "type",
        "no name",
        "no version",
        "no version of ours",
        "latest",
        "version",
        "broken headers",
        "header bytes",
        "header shape",
        "topic name",
        "no value",
    ],
)
async def test_a_row_that_cannot_become_a_message_is_set_aside(
    database: Database, kafka_topics: Topics, columns: dict[str, Any], error_type: str
) -> None:
    topic = kafka_topics.new()
    await write_row(database, **({"topic": topic} | columns))
    await write_row(database, topic=topic, key=b"another")
    await sent_but(database, kafka_topics, left=1)
    [row] = await set_aside(database)
    assert row.error_type == error_type


async def test_later_events_of_the_key_wait_behind_it_and_dead_letters_do_not(
    database: Database, kafka_topics: Topics
) -> None:
    events = kafka_topics.new()
    dead_letters = kafka_topics.new(kafka_topics.name(".dlq"))
    for topic in (events, dead_letters):
        await write(
            database,
            [
                Message(topic, b"k", bytes(TOO_LARGE), []),
                Message(topic, b"k", b"waits", []),
                Message(topic, b"other", b"goes", []),
                Message(topic, None, b"keyless", []),
            ],
        )
    await sent_but(database, kafka_topics, left=3)
    await write(database, [Message(events, b"k", b"later", []), Message(events, b"other", b"goes too", [])])
    await sent_but(database, kafka_topics, left=4)
    assert kafka_topics.values(events) == [b"goes", b"keyless", b"goes too"]
    assert kafka_topics.values(dead_letters) == [b"waits", b"goes", b"keyless"]
    assert len(await set_aside(database)) == 2
    await fetch(database, "UPDATE outbox SET discarded_at = now() WHERE set_aside_at IS NOT NULL RETURNING 1")
    await sent_but(database, kafka_topics, left=2)
    assert kafka_topics.values(events) == [b"goes", b"keyless", b"goes too", b"waits", b"later"]
