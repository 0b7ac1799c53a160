"""An event on a topic of another type, or under another key than its own, is parked."""

from dataclasses import replace

import pytest
from sqlalchemy import select

from chassis.consumer.inbox import inbox
from chassis.consumer.parking import parked
from chassis.database import Database
from chassis.dead_letters.redrive import Redrive, redrive_dead_letters
from chassis.events.avro import encode, frame
from chassis.events.dead_letter import Origin
from chassis.events.record import Record
from chassis.outbox.table import load_headers, outbox
from schemas import OrderConfirmed
from tests.support import sample_events
from tests.support.recording_service import (
    CONFIRMED,
    RecordingService,
    confirmed,
    counts,
    noted,
    record,
    rows,
    work,
)


async def redriven(database: Database, failed: Record, correction: OrderConfirmed | None) -> Record:
    origin = Origin(
        "orders", failed.partition, failed.offset, failed.at, first_failed_at=failed.at, redrive=1
    )
    redrive = Redrive("fraud", origin, failed.key, failed.value, failed.headers, correction)
    async with database.transaction() as db:
        await redrive_dead_letters(db, [redrive])
        sent = (await db.execute(select(outbox).where(outbox.c.topic == "orders.fraud.retry"))).one()
    value = frame(CONFIRMED, sent.payload) if sent.type else sent.payload
    return Record(sent.topic, 0, 0, 0, sent.key, value, load_headers(sent.headers))


@pytest.mark.parametrize("topic", ["payments", "payments.fraud.retry"])
async def test_an_event_on_a_topic_that_is_not_its_own_is_parked(
    topic: str, recorder: RecordingService, database: Database
) -> None:
    await work(recorder, database, replace(confirmed("a", 0), topic=topic))
    [kept] = await rows(database, parked)
    assert kept.error_message == "OrderConfirmed belongs to the topic orders, not to payments"
    assert await noted(recorder, database) == []


async def test_a_misplaced_event_is_also_parked_by_a_consumer_without_a_handler_for_it(
    recorder: RecordingService, database: Database
) -> None:
    await work(recorder, database, record("PaymentProcessed", "a", 0, b""), confirmed("b", 1))
    [kept] = await rows(database, parked)
    assert kept.error_message == "PaymentProcessed belongs to the topic payments, not to orders"
    assert await noted(recorder, database) == [("b", "confirmed")]


@pytest.mark.parametrize("key", [b"b", b"", None, b"\xff"])
async def test_a_record_with_the_key_of_another_event_is_parked(
    key: bytes | None, recorder: RecordingService, database: Database
) -> None:
    await work(recorder, database, replace(confirmed("a", 0), key=key), confirmed("b", 1))
    [kept] = await rows(database, parked)
    assert kept.error_message == f"the key is {key!r}, but the event's is 'a'"
    assert await noted(recorder, database) == [("b", "confirmed")]
    assert (await counts(database))["parked"] == 1


async def test_a_misplaced_event_is_applied_after_a_redrive_with_a_correction(
    recorder: RecordingService, database: Database
) -> None:
    misplaced = replace(confirmed("a", 0), key=b"b")
    await work(recorder, database, misplaced)
    await work(recorder, database, await redriven(database, misplaced, sample_events.order_confirmed("a")))
    assert await noted(recorder, database) == [("a", "confirmed")]
    assert [row.status for row in await rows(database, inbox)] == ["applied"]


async def test_a_misplaced_event_is_parked_again_after_a_redrive_without_a_correction(
    recorder: RecordingService, database: Database
) -> None:
    misplaced = replace(confirmed("a", 0), key=b"b")
    await work(recorder, database, misplaced)
    await work(recorder, database, await redriven(database, misplaced, None))
    assert len(await rows(database, parked)) == 2
    assert await noted(recorder, database) == []


async def test_a_redriven_event_belongs_to_the_topic_it_was_parked_from(
    recorder: RecordingService, database: Database
) -> None:
    corrected = await redriven(
        database, record("OrderConfirmed", "a", 4, b""), sample_events.order_confirmed("a")
    )
    assert corrected.value == frame(CONFIRMED, encode(sample_events.order_confirmed("a")))
    await work(recorder, database, corrected)
    assert await noted(recorder, database) == [("a", "confirmed")]
