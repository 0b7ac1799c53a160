"""Dead letters are filed once, whole, whatever is in them, and no redelivery undoes what somebody has decided."""

from dataclasses import replace

import pytest

from chassis.consumer.offsets import consumer_offsets
from chassis.database import Database
from chassis.events.record import Record
from chassis.outbox.table import load_headers
from services.dead_letters.tables import dead_letters
from tests.integration.conftest import NewDatabase
from tests.support import sample_events
from tests.support.dead_letter_service import NOON, WHY, come_back, file, kept, many, parked, sent, served
from tests.support.recording_service import Schemas, confirmed, record


@pytest.fixture
async def database(new_database: NewDatabase) -> Database:
    return await new_database("dead_letters")


async def status(database: Database) -> tuple[str, int, int]:
    [letter] = await kept(database, dead_letters)
    return letter.status, letter.redrive, letter.attempts


async def test_a_letter_is_filed_whole_with_its_origin_its_reason_and_its_event(database: Database) -> None:
    original = confirmed("order-1", 7)
    await file(database, parked(original))
    [letter] = await kept(database, dead_letters)
    assert (letter.key, letter.value) == (original.key, original.value)
    assert load_headers(letter.headers) == list(original.headers)
    assert (letter.consumer, letter.topic, letter.partition, letter.kafka_offset) == ("fraud", "orders", 0, 7)
    assert (letter.status, letter.attempts, letter.redrive) == ("parked", 1, 0)
    assert (letter.failure, letter.error_type) == ("permanent", "Contradiction")
    assert (letter.event_id, letter.type) == (original.event_id, "OrderConfirmed")
    assert '"order_id": "order-1"' in letter.event and letter.decode_error is None
    assert letter.first_failed_at == letter.last_failed_at == NOON


async def test_what_killed_its_worker_is_filed_undecoded(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read(*_: object) -> None:
        raise AssertionError("it kills whoever decodes it")

    monkeypatch.setattr("chassis.dead_letters.reader.decode_record", read)
    original = confirmed("order-1", 7)
    letter = parked(original)
    headers = [
        (name, b"WorkerCrashed" if name == "dlq_error_type" else value) for name, value in letter.headers
    ]
    await file(database, replace(letter, headers=headers))
    [filed] = await kept(database, dead_letters)
    assert (filed.value, filed.event, filed.error_type) == (original.value, None, "WorkerCrashed")
    assert "crashed" in filed.decode_error


async def test_letters_keep_the_order_in_which_they_were_parked_and_progress_is_noted(
    database: Database,
) -> None:
    await file(database, *many(20))
    found = await kept(database, dead_letters)
    assert [letter.kafka_offset for letter in found] == list(range(20))
    [noted] = await kept(database, consumer_offsets)
    assert (noted.consumer, noted.topic, noted.next_offset) == ("dead_letters", "orders.fraud.dlq", 20)


async def test_the_same_letter_again_changes_nothing(database: Database) -> None:
    letter = parked(confirmed("order-1", 7))
    await file(database, letter, letter)
    await file(database, letter)
    assert await status(database) == ("parked", 0, 1)


@pytest.mark.parametrize(("deed", "becomes"), [("redrive", ("redriven", 1)), ("discard", ("discarded", 0))])
async def test_a_letter_that_is_delivered_again_after_a_decision_does_not_revert_it(
    database: Database, deed: str, becomes: tuple[str, int]
) -> None:
    letter = parked(confirmed("order-1", 7))
    await file(database, letter)
    async with served(database) as client:
        assert (await client.post(f"/dead-letters/1/{deed}", json=WHY)).is_success
    await file(database, letter)
    assert await status(database) == (*becomes, 1)
    assert not await sample_events.broken_checks("dead_letters", database)


async def test_a_letter_that_fails_again_is_parked_again_with_its_attempts_and_its_new_reason(
    database: Database,
) -> None:
    original = confirmed("order-1", 7)
    await file(database, parked(original))
    async with served(database) as client:
        await client.post("/dead-letters/1/redrive", json=WHY)
        back = come_back(original, 1, error_type="OutOfLuck")
        await file(database, back)
        [letter] = await kept(database, dead_letters)
        assert (letter.status, letter.attempts, letter.redrive) == ("parked", 2, 1)
        assert (letter.error_type, letter.first_failed_at) == ("OutOfLuck", NOON)
        await client.post("/dead-letters/1/redrive", json=WHY)
        await file(database, back)
    assert await status(database) == ("redriven", 2, 2)
    assert [origin.redrive for _, _, origin in await sent(database)] == [1, 2]
    assert [origin.attempts for _, _, origin in await sent(database)] == [1, 2]
    assert not await sample_events.broken_checks("dead_letters", database)


async def test_of_a_letter_sent_back_twice_the_first_failure_does_not_park_it_while_the_second_is_on_its_way(
    database: Database,
) -> None:
    original = confirmed("order-1", 7)
    await file(database, parked(original))
    async with served(database) as client:
        for _ in range(2):
            await client.post("/dead-letters/1/redrive", json=WHY)
    await file(database, come_back(original, 1))
    assert await status(database) == ("redriven", 2, 1)
    await file(database, come_back(original, 2))
    assert await status(database) == ("parked", 2, 3)


async def test_what_an_emptied_database_reads_again_is_filed_as_it_was_first_and_stands_as_it_is_now(
    database: Database,
) -> None:
    original = confirmed("order-1", 7)
    corrected = replace(confirmed("order-2", 7), headers=original.headers)
    await file(database, parked(original), come_back(original, 1), come_back(corrected, 2))
    [letter] = await kept(database, dead_letters)
    assert (letter.value, letter.redrive, letter.attempts) == (original.value, 2, 3)
    await file(database, come_back(original, 3))
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
async def test_whatever_is_in_a_letter_it_is_filed_once_and_can_be_shown(
    database: Database, kind: str
) -> None:
    letter = hostile()[kind]
    await file(database, letter)
    await file(database, letter)
    assert (await status(database))[0] == "parked"
    async with served(database) as client:
        shown = await client.get("/dead-letters/1")
        listed = await client.get("/dead-letters")
    assert (shown.status_code, listed.status_code) == (200, 200)
    assert (shown.json()["event"] is None) == (shown.json()["decode_error"] is not None)


async def test_a_letter_whose_labels_name_another_topic_was_parked_by_nobody(database: Database) -> None:
    await file(database, replace(parked(confirmed("order-1", 7)), topic="payments.orders.dlq"))
    [letter] = await kept(database, dead_letters)
    assert (letter.consumer, letter.topic, letter.error_type) == (
        "orders",
        "payments.orders.dlq",
        "NotParkedByUs",
    )


async def test_while_the_registry_is_away_filing_waits(database: Database) -> None:
    schemas = Schemas(away=2)
    await file(database, parked(confirmed("order-1", 7)), schemas=schemas)
    assert (schemas.away, await status(database)) == (0, ("parked", 0, 1))
