"""A record too large for a dead letter: its value is left out, and a redrive needs a correction."""

from dataclasses import replace
from typing import Any

import pytest

from chassis.consumer.parking import Failed, park, parked
from chassis.database import Database
from chassis.events.dead_letter_size import LARGEST_BYTES, VALUE_OMITTED
from chassis.events.record import Record
from chassis.outbox.table import load_headers, outbox
from tests.integration.conftest import NewDatabase
from tests.support import sample_events
from tests.support.dead_letter_service import WHY, redriven_messages, served, store, stored
from tests.support.recording_service import confirmed, rows
from tests.support.running_relay import Topics, kafka_topics, running, unsent, until

__all__ = ["kafka_topics"]

LARGE = LARGEST_BYTES - 100


async def parked_dead_letter(database: Database, record: Record) -> Any:
    async with database.transaction() as db:
        await park(db, "fraud", [Failed(record, ValueError("too large"))])
    [dead_letter] = await rows(database, outbox)
    return dead_letter


async def test_a_value_that_is_too_large_is_left_out_of_the_dead_letter_and_kept_by_the_consumer(
    database: Database,
) -> None:
    record = replace(confirmed("a", 0), value=bytes(LARGE))
    dead_letter = await parked_dead_letter(database, record)
    headers = dict(load_headers(dead_letter.headers))
    assert (dead_letter.key, dead_letter.payload, headers[VALUE_OMITTED]) == (b"a", None, str(LARGE).encode())
    assert headers["ce_id"] == dict(record.headers)["ce_id"]
    assert [len(row.value) for row in await rows(database, parked)] == [LARGE]


@pytest.mark.parametrize("size", [0, LARGEST_BYTES - 100_000])
async def test_a_value_that_fits_is_sent_as_it_is(database: Database, size: int) -> None:
    dead_letter = await parked_dead_letter(database, replace(confirmed("a", 0), value=bytes(size)))
    assert len(dead_letter.payload) == size
    assert VALUE_OMITTED not in dict(load_headers(dead_letter.headers))


@pytest.mark.parametrize(
    "huge",
    [
        {"value": bytes(LARGE)},
        {"value": bytes(LARGEST_BYTES - 70_000)},
        {"headers": [("h", bytes(LARGE))]},
        {"headers": [("h" * 1000, b"")] * 2_000},
        {"key": bytes(LARGE)},
    ],
    ids=["value", "just fits", "header", "header names", "key"],
)
async def test_every_dead_letter_can_be_sent(
    database: Database, kafka_topics: Topics, huge: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = kafka_topics.new(max_message_bytes=str(LARGEST_BYTES))
    monkeypatch.setattr("chassis.consumer.parking.dead_letter_topic", lambda *_: topic)
    await parked_dead_letter(database, replace(confirmed("a", 0), **huge))

    async def is_sent() -> bool:
        return await unsent(database) == 0

    async with running(database, kafka_topics):
        await until(is_sent)
    assert len(kafka_topics.values(topic)) == 1


async def test_a_dead_letter_without_its_value_is_redriven_only_with_a_correction(
    database: Database, new_database: NewDatabase
) -> None:
    event = sample_events.order_confirmed("order-0")
    record = replace(confirmed("order-0", 0), value=bytes(LARGE))
    sent_to_kafka = await parked_dead_letter(database, record)
    dead_letter_database = await new_database("dead_letters")
    arrived = Record(
        sent_to_kafka.topic,
        0,
        0,
        0,
        sent_to_kafka.key,
        sent_to_kafka.payload,
        load_headers(sent_to_kafka.headers),
    )
    await store(dead_letter_database, arrived)
    async with served(dead_letter_database) as client:
        refusal = await client.post("/dead-letters/1/redrive", json=WHY)
        assert refusal.status_code == 409
        assert "left out" in refusal.json()["detail"] and "fraud's database" in refusal.json()["detail"]
        assert (await client.post("/dead-letters/redrive", json=WHY | {"all": True})).json()["count"] == 0
        corrected = await client.post("/dead-letters/1/redrive", json=WHY | {"correction": event.to_record()})
        assert corrected.is_success, corrected.text
    [(message, headers, _)] = await redriven_messages(dead_letter_database)
    assert message.type == "OrderConfirmed" and VALUE_OMITTED not in headers
    assert len(await stored(dead_letter_database, outbox)) == 1
