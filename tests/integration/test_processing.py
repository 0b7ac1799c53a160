"""One batch is one transaction on a real Postgres: which records are applied, retried or parked."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from chassis.consumer.batch import EventProcessor
from chassis.consumer.inbox import inbox
from chassis.consumer.parking import parked
from chassis.consumer.retry import MAX_ATTEMPTS, Stopped
from chassis.database import Database
from chassis.errors import InfrastructureFailure, PermanentFailure, TransientFailure
from chassis.events.decoding import decode_record
from chassis.events.record import Record
from chassis.outbox.table import load_headers, outbox
from tests.support.recording_service import (
    TRACE,
    RecordingService,
    Schemas,
    cancelled,
    confirmed,
    counts,
    noted,
    record,
    rows,
    work,
)


async def test_a_batch_is_one_transaction_with_effects_inbox_rows_and_published_events(
    recorder: RecordingService, database: Database
) -> None:
    await work(recorder, database, *(confirmed(f"order-{n}", n) for n in range(50)))
    assert recorder.batches == [[f"order-{n}" for n in range(50)]]
    assert len(await rows(database, inbox)) == len(await rows(database, outbox)) == 50
    assert await counts(database) == {
        "received": 50,
        "applied": 50,
        "duplicates": 0,
        "parked": 0,
        "next_offset": 50,
    }


async def test_a_read_model_that_publishes_is_stopped_before_a_replay_would_publish_again(
    recorder: RecordingService, database: Database
) -> None:
    recorder.service.read_model = True
    await work(recorder, database, confirmed("order-1", 0))
    [refused] = await rows(database, parked)
    assert refused.error_type == "NotAReadModel"
    assert [row.topic for row in await rows(database, outbox)] == ["orders.fraud.dlq"]


async def test_the_same_records_again_have_no_effect(recorder: RecordingService, database: Database) -> None:
    records = [confirmed(f"order-{n}", n) for n in range(10)]
    await work(recorder, database, *records)
    await work(recorder, database, *records)
    await work(recorder, database, *records[:5], *records[:5])
    assert len(await noted(recorder, database)) == 10
    assert await counts(database) == {
        "received": 30,
        "applied": 10,
        "duplicates": 20,
        "parked": 0,
        "next_offset": 10,
    }


async def test_an_event_twice_in_one_batch_is_one_effect(
    recorder: RecordingService, database: Database
) -> None:
    first = confirmed("order-1", 0)
    await work(recorder, database, first, replace(first, offset=1))
    assert recorder.batches == [["order-1"]]
    assert await noted(recorder, database) == [("order-1", "confirmed")]


async def test_a_bad_message_is_parked_whole_and_its_neighbours_go_through_once(
    recorder: RecordingService, database: Database
) -> None:
    recorder.failures["bad"] = [PermanentFailure("against the rules")] * 9
    await work(recorder, database, confirmed("a", 0), confirmed("bad", 1), confirmed("b", 2))
    assert [order_id for order_id, _ in await noted(recorder, database)] == ["a", "b"]
    [kept] = await rows(database, parked)
    assert (kept.kafka_offset, kept.failure, kept.attempts) == (1, "permanent", 1)
    assert kept.error_message == "against the rules"
    [dead_letter] = [row for row in await rows(database, outbox) if row.type is None]
    assert (dead_letter.topic, dead_letter.key, dead_letter.payload) == (
        "orders.fraud.dlq",
        b"bad",
        kept.value,
    )
    headers = dict(load_headers(dead_letter.headers))
    assert headers["traceparent"] == TRACE.encode() and headers["dlq_kafka_offset"] == b"1"
    assert {row.status for row in await rows(database, inbox)} == {"applied", "parked"}
    assert await counts(database) == {
        "received": 3,
        "applied": 2,
        "duplicates": 0,
        "parked": 1,
        "next_offset": 3,
    }


async def test_one_bad_message_among_hundreds_costs_its_neighbours_a_few_transactions(
    recorder: RecordingService, database: Database
) -> None:
    recorder.failures["order-77"] = [PermanentFailure("against the rules")] * 99
    await work(recorder, database, *(confirmed(f"order-{n}", n) for n in range(256)))
    handled = [order_id for order_id, _ in await noted(recorder, database)]
    assert handled == [f"order-{n}" for n in range(256) if n != 77]
    assert [row.kafka_offset for row in await rows(database, parked)] == [77]
    assert len(recorder.batches) < 20


async def test_a_failed_batch_is_bisected_without_decoding_it_again(
    recorder: RecordingService, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decoding may ask the registry, and an unknown schema id is asked for each time."""
    decoded: list[int] = []

    async def counted(record: Record, *arguments: Any) -> Any:
        decoded.append(record.offset)
        return await decode_record(record, *arguments)

    monkeypatch.setattr("chassis.consumer.batch.decode_record", counted)
    recorder.failures["order-77"] = [PermanentFailure("against the rules")] * 99
    await work(recorder, database, *(confirmed(f"order-{n}", n) for n in range(256)))
    again = len(decoded) - 256
    assert set(decoded) == set(range(256)) and again <= 2, (
        "only the records of the last step are decoded again"
    )


async def test_what_was_parked_is_not_parked_again(recorder: RecordingService, database: Database) -> None:
    rubbish = [record("OrderConfirmed", "x", 0, b""), replace(confirmed("y", 1), headers=[])]
    await work(recorder, database, *rubbish)
    await work(recorder, database, *rubbish)
    assert len(await rows(database, parked)) == len(await rows(database, outbox)) == 2
    assert await counts(database) == {
        "received": 4,
        "applied": 0,
        "duplicates": 2,
        "parked": 2,
        "next_offset": 2,
    }


async def test_a_transient_failure_is_retried_in_place(
    recorder: RecordingService, database: Database
) -> None:
    recorder.failures["failing"] = [TransientFailure("deadlock")] * (MAX_ATTEMPTS - 1)
    await work(recorder, database, confirmed("failing", 0))
    assert await noted(recorder, database) == [("failing", "confirmed")]
    assert await rows(database, parked) == []


async def test_a_transient_failure_that_persists_is_parked_after_five_attempts(
    recorder: RecordingService, database: Database
) -> None:
    recorder.failures["failing"] = [TransientFailure("deadlock")] * 99
    await work(recorder, database, confirmed("failing", 0))
    [kept] = await rows(database, parked)
    assert (kept.failure, kept.attempts) == ("transient", MAX_ATTEMPTS)


async def test_an_outage_of_any_length_is_waited_for_and_parks_nothing(
    recorder: RecordingService, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.consumer.retry.FIRST_OUTAGE_WAIT_SECONDS", 0.001)
    monkeypatch.setattr("chassis.consumer.retry.LONGEST_OUTAGE_WAIT_SECONDS", 0.01)
    recorder.failures["a"] = [InfrastructureFailure("database away")] * (2 * MAX_ATTEMPTS)
    await work(recorder, database, confirmed("a", 0), schemas=Schemas(away=2 * MAX_ATTEMPTS))
    assert await noted(recorder, database) == [("a", "confirmed")]
    assert await rows(database, parked) == []


async def test_a_batch_that_waits_for_an_outage_can_be_stopped(
    recorder: RecordingService, database: Database
) -> None:
    processor, stop = EventProcessor(recorder.service, database, Schemas(away=10**6)), asyncio.Event()
    working = asyncio.create_task(processor.process([confirmed("a", 0)], stop))
    stop.set()
    with pytest.raises(Stopped):
        await working
    assert await noted(recorder, database) == []


async def test_events_of_one_order_are_handled_in_their_order_across_types(
    recorder: RecordingService, database: Database
) -> None:
    await work(recorder, database, cancelled("a", 0), confirmed("b", 1), confirmed("a", 2), cancelled("b", 3))
    handled = await noted(recorder, database)
    assert [what for order_id, what in handled if order_id == "a"] == ["cancelled", "confirmed"]
    assert [what for order_id, what in handled if order_id == "b"] == ["confirmed", "cancelled"]


async def test_a_published_event_continues_the_trace_of_the_handled_one(
    recorder: RecordingService, database: Database
) -> None:
    await work(recorder, database, confirmed("a", 0))
    [published] = await rows(database, outbox)
    traceparent = (dict(load_headers(published.headers))["traceparent"] or b"").decode()
    assert traceparent == TRACE


async def test_an_event_without_a_handler_changes_nothing(
    recorder: RecordingService, database: Database
) -> None:
    await work(recorder, database, record("OrderPlaced", "a", 0, b"\x00rubbish for another service"))
    async with database.transaction() as db:
        assert await db.scalar(text("SELECT count(*) FROM consumer_offsets")) == 0
