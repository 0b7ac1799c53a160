"""Dead letters are stored once and whole, whatever they contain, and no redelivery reverts an action."""

from dataclasses import replace

import pytest

from chassis.consumer.offsets import consumer_offsets
from chassis.database import Database
from chassis.events.record import Record
from chassis.outbox.table import load_headers
from services.dead_letters.tables import dead_letters
from tests.integration.conftest import NewDatabase
from tests.support import sample_events
from tests.support.dead_letter_service import (
    NOON,
    WHY,
    failed_again,
    many,
    parked,
    redriven_messages,
    served,
    store,
    stored,
)
from tests.support.recording_service import Schemas, confirmed, record


@pytest.fixture
async def database(new_database: NewDatabase) -> Database:
    return await new_database("dead_letters")


async def status(database: Database) -> tuple[str, int, int]:
    [dead_letter] = await stored(database, dead_letters)
    return dead_letter.status, dead_letter.redrive, dead_letter.attempts


async def test_a_dead_letter_is_stored_with_its_record_origin_reason_and_event(database: Database) -> None:
    original = confirmed("order-1", 7)
    await store(database, parked(original))
    [dead_letter] = await stored(database, dead_letters)
    assert (dead_letter.key, dead_letter.value) == (original.key, original.value)
    assert load_headers(dead_letter.headers) == list(original.headers)
    assert (dead_letter.consumer, dead_letter.topic, dead_letter.partition, dead_letter.kafka_offset) == (
        "fraud",
        "orders",
        0,
        7,
    )
    assert (dead_letter.status, dead_letter.attempts, dead_letter.redrive) == ("parked", 1, 0)
    assert (dead_letter.failure, dead_letter.error_type) == ("permanent", "Contradiction")
    assert (dead_letter.event_id, dead_letter.type) == (original.event_id, "OrderConfirmed")
    assert '"order_id": "order-1"' in dead_letter.event and dead_letter.decode_error is None
    assert dead_letter.first_failed_at == dead_letter.last_failed_at == NOON


async def test_a_record_that_crashed_its_worker_is_stored_undecoded(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read(*_: object) -> None:
        raise AssertionError("it kills whoever decodes it")

    monkeypatch.setattr("chassis.dead_letters.reader.decode_record", read)
    original = confirmed("order-1", 7)
    dead_letter = parked(original)
    headers = [
        (name, b"WorkerCrashed" if name == "dlq_error_type" else value) for name, value in dead_letter.headers
    ]
    await store(database, replace(dead_letter, headers=headers))
    [stored_dead_letter] = await stored(database, dead_letters)
    assert (stored_dead_letter.value, stored_dead_letter.event, stored_dead_letter.error_type) == (
        original.value,
        None,
        "WorkerCrashed",
    )
    assert "crashed" in stored_dead_letter.decode_error


async def test_dead_letters_are_stored_in_the_order_in_which_they_were_parked_with_the_consumer_offset(
    database: Database,
) -> None:
    await store(database, *many(20))
    found = await stored(database, dead_letters)
    assert [dead_letter.kafka_offset for dead_letter in found] == list(range(20))
    [noted] = await stored(database, consumer_offsets)
    assert (noted.consumer, noted.topic, noted.next_offset) == ("dead_letters", "orders.fraud.dlq", 20)


async def test_a_redelivered_dead_letter_changes_nothing(database: Database) -> None:
    dead_letter = parked(confirmed("order-1", 7))
    await store(database, dead_letter, dead_letter)
    await store(database, dead_letter)
    assert await status(database) == ("parked", 0, 1)


async def test_a_record_of_a_topic_that_was_made_anew_is_another_one_though_its_offset_is_the_same(
    database: Database,
) -> None:
    before = confirmed("order-1", 7)
    after = replace(confirmed("order-2", 7), timestamp_ms=before.timestamp_ms + 1)
    await store(database, parked(before))
    await store(database, parked(after), parked(before))
    assert [row.event_id for row in await stored(database, dead_letters)] == [before.event_id, after.event_id]


@pytest.mark.parametrize(("action", "becomes"), [("redrive", ("redriven", 1)), ("discard", ("discarded", 0))])
async def test_a_redelivery_after_an_action_does_not_revert_it(
    database: Database, action: str, becomes: tuple[str, int]
) -> None:
    dead_letter = parked(confirmed("order-1", 7))
    await store(database, dead_letter)
    async with served(database) as client:
        assert (await client.post(f"/dead-letters/1/{action}", json=WHY)).is_success
    await store(database, dead_letter)
    assert await status(database) == (*becomes, 1)
    assert not await sample_events.broken_checks("dead_letters", database)


async def test_a_redriven_dead_letter_that_fails_again_is_parked_with_its_attempts_and_its_new_reason(
    database: Database,
) -> None:
    original = confirmed("order-1", 7)
    await store(database, parked(original))
    async with served(database) as client:
        await client.post("/dead-letters/1/redrive", json=WHY)
        again = failed_again(original, 1, error_type="OutOfLuck")
        await store(database, again)
        [dead_letter] = await stored(database, dead_letters)
        assert (dead_letter.status, dead_letter.attempts, dead_letter.redrive) == ("parked", 2, 1)
        assert (dead_letter.error_type, dead_letter.first_failed_at) == ("OutOfLuck", NOON)
        await client.post("/dead-letters/1/redrive", json=WHY)
        await store(database, again)
    assert await status(database) == ("redriven", 2, 2)
    assert [origin.redrive for _, _, origin in await redriven_messages(database)] == [1, 2]
    assert [origin.attempts for _, _, origin in await redriven_messages(database)] == [1, 2]
    assert not await sample_events.broken_checks("dead_letters", database)


async def test_of_two_redrives_the_failure_of_the_first_does_not_park_a_dead_letter_while_the_second_is_in_flight(
    database: Database,
) -> None:
    original = confirmed("order-1", 7)
    await store(database, parked(original))
    async with served(database) as client:
        for _ in range(2):
            await client.post("/dead-letters/1/redrive", json=WHY)
    await store(database, failed_again(original, 1))
    assert await status(database) == ("redriven", 2, 1)
    await store(database, failed_again(original, 2))
    assert await status(database) == ("parked", 2, 3)


async def test_a_dead_letter_that_an_emptied_database_reads_again_has_its_first_record_and_its_latest_state(
    database: Database,
) -> None:
    original = confirmed("order-1", 7)
    corrected = replace(confirmed("order-2", 7), headers=original.headers)
    await store(database, parked(original), failed_again(original, 1), failed_again(corrected, 2))
    [dead_letter] = await stored(database, dead_letters)
    assert (dead_letter.value, dead_letter.redrive, dead_letter.attempts) == (original.value, 2, 3)
    await store(database, failed_again(original, 3))
    assert await status(database) == ("parked", 3, 4)


def hostile() -> dict[str, Record]:
    good = confirmed("order-1", 0)
    nul = [("ce_type", b"a\x00b"), ("ce_id", b"\x00"), ("n\x00me", b"\xff\x00")]
    return {
        "tombstone": parked(replace(good, value=None, key=None)),
        "empty": parked(replace(good, value=b"")),
        "one mebibyte": parked(replace(good, value=bytes(1024 * 1024))),
        "no headers": parked(replace(good, headers=[])),
        "NUL in headers": parked(replace(good, headers=nul)),
        "NUL in an event": parked(confirmed("\x00", 0)),
        "NUL in the reason": parked(good, error_message="\x00"),
        "a value that is null": parked(replace(good, headers=[("ce_type", None)])),
        "not parked by us": replace(good, topic="orders.fraud.dlq"),
        "labels that are no numbers": parked(good, redrive="many"),
        "a count over its limit": parked(good, attempts=2**31),
        "a number over all limits": parked(good, kafka_offset=10**30),
        "a time before all databases": parked(good, last_failed_at="0001-01-01T00:00:00+14:00"),
        "a time without a zone": parked(good, first_failed_at="2026-01-01T00:00:00"),
        "in the wrong topic": replace(parked(good), topic="payments.orders.dlq"),
        "unknown schema": parked(record("OrderShipped", "order-1", 0, good.value or b"")),
    }


@pytest.mark.parametrize("kind", hostile())
async def test_a_dead_letter_with_any_content_is_stored_once_and_can_be_shown(
    database: Database, kind: str
) -> None:
    dead_letter = hostile()[kind]
    await store(database, dead_letter)
    await store(database, dead_letter)
    assert (await status(database))[0] == "parked"
    async with served(database) as client:
        shown = await client.get("/dead-letters/1")
        listed = await client.get("/dead-letters")
    assert (shown.status_code, listed.status_code) == (200, 200)
    assert (shown.json()["event"] is None) == (shown.json()["decode_error"] is not None)


async def test_a_dead_letter_whose_headers_name_another_topic_counts_as_not_parked_by_a_consumer(
    database: Database,
) -> None:
    await store(database, replace(parked(confirmed("order-1", 7)), topic="payments.orders.dlq"))
    [dead_letter] = await stored(database, dead_letters)
    assert (dead_letter.consumer, dead_letter.topic, dead_letter.error_type) == (
        "orders",
        "payments.orders.dlq",
        "NotParkedByUs",
    )


async def test_storing_waits_while_the_registry_is_unavailable(database: Database) -> None:
    schemas = Schemas(away=2)
    await store(database, parked(confirmed("order-1", 7)), schemas=schemas)
    assert (schemas.away, await status(database)) == (0, ("parked", 0, 1))
