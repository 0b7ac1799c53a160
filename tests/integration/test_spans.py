"""What a batch records: a span with links to its messages, and spans of messages with their parents and outcomes."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from opentelemetry.trace import StatusCode

from chassis.consumer.batch import EventProcessor
from chassis.consumer.parking import parked
from chassis.consumer.retry import Stopped
from chassis.database import Database
from chassis.dead_letters.redrive import Redrive, redrive_dead_letters
from chassis.errors import PermanentFailure, TransientFailure
from chassis.events.dead_letter import Origin
from chassis.events.record import Record
from chassis.outbox.table import load_headers, outbox
from chassis.telemetry.trace_context import TraceContext, parse, set_parents
from tests.support.recorded_spans import RecordedSpans, context_of, ids, links_of, parent_of, recorded_spans
from tests.support.recording_service import (
    TRACE,
    RecordingService,
    Schemas,
    confirmed,
    recorder_database,
    rows,
    work,
)
from tests.support.stack_fixtures import NewDatabase

STORED = tuple(TRACE.split("-")[1:3])
UNSAMPLED = TRACE[:-1] + "0"


@pytest.fixture
def recorder() -> RecordingService:
    return RecordingService()


@pytest.fixture
async def database(recorder: RecordingService, new_database: NewDatabase) -> Database:
    return await recorder_database(recorder, new_database)


@pytest.fixture
def spans() -> Iterator[RecordedSpans]:
    with recorded_spans() as recorded:
        yield recorded


def traced(record: Record, traceparent: str, **headers: str) -> Record:
    kept = [(name, value) for name, value in record.headers if name != "traceparent"]
    added = {"traceparent": traceparent, **headers}
    return replace(record, headers=[*kept, *((name, text.encode()) for name, text in added.items())])


async def test_a_sampled_event_has_its_own_span_below_its_creation_and_its_batch_links_to_it(
    recorder: RecordingService, database: Database, spans: RecordedSpans
) -> None:
    await work(recorder, database, confirmed("a", 0), traced(confirmed("b", 1), UNSAMPLED))
    own = spans.one("process orders", fanout__order_id="a", fanout__outcome="applied")
    batch = spans.one("process orders", messaging__batch__message_count=2)
    assert parent_of(own) == STORED and parent_of(batch) is None
    assert links_of(batch) == [STORED] and links_of(own) == []
    assert not spans.all("process orders", fanout__order_id="b")


async def test_an_event_that_a_handler_publishes_is_created_below_the_span_that_handles(
    recorder: RecordingService, database: Database, spans: RecordedSpans
) -> None:
    await work(recorder, database, confirmed("a", 0))
    own = spans.one("process orders", fanout__order_id="a")
    created = spans.one("create fraud")
    [row] = await rows(database, outbox)
    stored = parse((dict(load_headers(row.headers))["traceparent"] or b"").decode())
    assert parent_of(created) == context_of(own)
    assert stored and context_of(created) == (stored.trace_id, stored.span_id) and stored.is_sampled


async def test_an_event_about_another_aggregate_is_created_below_the_span_of_the_batch(
    recorder: RecordingService, database: Database, spans: RecordedSpans
) -> None:
    recorder.also_about = "z"
    await work(recorder, database, confirmed("a", 0))
    batch = spans.one("process orders", messaging__batch__message_count=1)
    created = spans.one("create fraud", fanout__order_id="z")
    assert parent_of(created) == context_of(batch)


async def test_what_follows_from_an_event_that_is_not_sampled_continues_its_context_unchanged(
    recorder: RecordingService, database: Database, spans: RecordedSpans
) -> None:
    await work(
        recorder, database, traced(confirmed("a", 0), UNSAMPLED, tracestate="vendor=1"), confirmed("b", 1)
    )
    published = {row.aggregate_id: dict(load_headers(row.headers)) for row in await rows(database, outbox)}
    assert published["a"]["traceparent"] == UNSAMPLED.encode() and published["a"]["tracestate"] == b"vendor=1"
    assert published["b"]["traceparent"] != TRACE.encode() and "tracestate" not in published["b"]


async def test_a_rolled_back_transaction_leaves_no_span_of_the_events_that_it_created(
    recorder: RecordingService, database: Database, spans: RecordedSpans
) -> None:
    recorder.failures["b"] = [ValueError("once")]
    await work(recorder, database, confirmed("a", 0), confirmed("b", 1))
    created = [
        str(span.attributes["fanout.event_id"]) for span in spans.all("create fraud") if span.attributes
    ]
    assert sorted(created) == sorted(str(row.event_id) for row in await rows(database, outbox))


async def test_a_parked_event_that_is_not_sampled_is_recorded_in_a_trace_of_its_own_with_a_link(
    recorder: RecordingService, database: Database, spans: RecordedSpans
) -> None:
    recorder.failures["b"] = [PermanentFailure("no such customer")] * 3
    records = [traced(confirmed(name, n), UNSAMPLED) for n, name in enumerate("abc")]
    await work(recorder, database, *records)
    assert len(await rows(database, parked)) == 1
    own = spans.one("process orders", fanout__parked=True)
    assert parent_of(own) is None and links_of(own) == [STORED]
    assert own.attributes and own.attributes["fanout.order_id"] == "b"
    assert not own.status.is_ok and "no such customer" in (own.status.description or "")
    [exception] = own.events
    assert exception.attributes and exception.attributes["exception.type"] == "PermanentFailure"
    assert len(spans.all("process orders")) == 2  # the batch, and the one that was parked


async def test_an_event_that_succeeds_at_the_second_try_shows_the_failure_and_no_error(
    recorder: RecordingService, database: Database, spans: RecordedSpans
) -> None:
    recorder.failures["a"] = [TransientFailure("deadlock")] * 2
    await work(recorder, database, traced(confirmed("a", 0), UNSAMPLED))
    own = spans.one("process orders", fanout__outcome="applied")
    assert links_of(own) == [STORED] and own.events and own.status.status_code is StatusCode.OK


async def test_a_redelivered_event_says_so(
    recorder: RecordingService, database: Database, spans: RecordedSpans
) -> None:
    record = confirmed("a", 0)
    await work(recorder, database, record)
    await work(recorder, database, record)
    again = spans.one("process orders", fanout__redelivered=True)
    assert again.attributes and again.attributes["fanout.outcome"] == "duplicate"
    assert parent_of(again) == STORED


async def test_a_redriven_event_that_is_not_sampled_is_recorded_with_its_count(
    recorder: RecordingService, database: Database, spans: RecordedSpans
) -> None:
    redriven = traced(confirmed("a", 0), UNSAMPLED, dlq_redrive="2", baggage="user=7")
    await work(recorder, database, replace(redriven, topic="orders.fraud.retry"))
    own = spans.one("process orders.fraud.retry", fanout__redrive=2, fanout__outcome="applied")
    assert parent_of(own) is None and links_of(own) == [STORED]
    [row] = await rows(database, outbox)
    assert dict(load_headers(row.headers))["traceparent"] == UNSAMPLED.encode()
    assert spans.all() == [own]


async def test_a_redrive_is_recorded_below_its_request_with_a_link_once_it_is_committed(
    database: Database, spans: RecordedSpans
) -> None:
    request = TraceContext("ab" * 16, "cd" * 8, is_sampled=True)
    origin = Origin("orders", 0, 5, datetime.now(UTC), redrive=1)
    again = Redrive("fraud", origin, b"a", b"", [("traceparent", UNSAMPLED.encode()), ("ce_id", b"e")])
    set_parents({"": request})
    with pytest.raises(ZeroDivisionError):
        async with database.transaction() as db:
            await redrive_dead_letters(db, [again])
            raise ZeroDivisionError
    assert not spans.all()
    async with database.transaction() as db:
        await redrive_dead_letters(db, [again])
    span = spans.one("create orders.fraud.retry", fanout__redrive=1, fanout__event_id="e")
    assert parent_of(span) == ids(request) and links_of(span) == [STORED]
    [row] = await rows(database, outbox)
    assert dict(load_headers(row.headers))["traceparent"] == UNSAMPLED.encode()


async def test_an_event_that_is_read_again_for_a_replay_says_so(
    recorder: RecordingService, database: Database, spans: RecordedSpans
) -> None:
    processor = EventProcessor(recorder.service, database, Schemas())
    processor.offsets.replays({("orders", 0): 2})
    records = [confirmed(name, n) for n, name in enumerate("abc")]
    await processor.process(records[:2], asyncio.Event())
    await processor.process(records[2:], asyncio.Event())
    replayed = spans.all("process orders", fanout__replayed=True)
    assert {(span.attributes or {}).get("fanout.order_id") for span in replayed} == {"a", "b", None}
    assert len(spans.all("process orders")) == 5


async def test_a_batch_that_is_stopped_ends_its_spans(
    recorder: RecordingService, database: Database, spans: RecordedSpans
) -> None:
    stop = asyncio.Event()
    stop.set()
    with pytest.raises(Stopped):
        await EventProcessor(recorder.service, database, Schemas()).process([confirmed("a", 0)], stop)
    assert spans.one("process orders", fanout__outcome="interrupted").status.is_ok


async def test_with_batch_spans_only_what_is_published_is_created_below_the_event(
    recorder: RecordingService, database: Database
) -> None:
    with recorded_spans(span_per_event=False) as spans:
        await work(recorder, database, confirmed("a", 0), confirmed("b", 1))
    batch = spans.one("process orders")
    assert links_of(batch) == [STORED, STORED]
    assert [parent_of(span) for span in spans.all("create fraud")] == [STORED, STORED]
