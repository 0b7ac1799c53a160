"""A redriven event is applied once, and parked again with its original position if it fails again."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import Row, select, text, update

from chassis.consumer.crash_loop import WorkerCrashed
from chassis.consumer.inbox import claim, inbox
from chassis.consumer.parking import Failed, park, parked
from chassis.database import Database
from chassis.dead_letters.redrive import Redrive, redrive_dead_letters
from chassis.errors import PermanentFailure
from chassis.events.dead_letter import DLQ_HEADERS, Origin, split_headers
from chassis.events.record import Record
from chassis.outbox.table import load_headers, outbox
from chassis.retention import purge
from tests.support.recording_service import RecordingService, cancelled, confirmed, noted, record, rows, work


async def last_message(database: Database, topic: str) -> Row:  # type: ignore[type-arg]
    async with database.transaction() as db:
        sent = select(outbox).where(outbox.c.topic == topic).order_by(outbox.c.id.desc())
        return (await db.execute(sent)).first()  # type: ignore[return-value]


async def redriven(database: Database, offset: int) -> Record:
    """Redrives the last dead dead_letter; returns the record that the recording service would read."""
    dead_letter = await last_message(database, "orders.fraud.dlq")
    headers, added = split_headers(load_headers(dead_letter.headers), DLQ_HEADERS)
    origin = Origin.read(added)
    again = Redrive(
        "fraud", replace(origin, redrive=origin.redrive + 1), dead_letter.key, dead_letter.payload, headers
    )
    async with database.transaction() as db:
        await redrive_dead_letters(db, [again])
    sent = await last_message(database, "orders.fraud.retry")
    return Record(sent.topic, 0, offset, 0, sent.key, sent.payload, load_headers(sent.headers))


async def test_a_redriven_event_is_applied_once_however_often_it_is_sent(
    recorder: RecordingService, database: Database
) -> None:
    recorder.failures["a"] = [PermanentFailure("a bug")]
    await work(recorder, database, confirmed("a", 3))
    first = await redriven(database, 0)
    second = replace(first, offset=1, headers=[*first.headers[:-1], ("dlq_redrive", b"2")])
    await work(recorder, database, first, replace(first, offset=2))
    await work(recorder, database, second)
    assert await noted(recorder, database) == [("a", "confirmed")]
    assert [row.status for row in await rows(database, inbox)] == ["applied"]
    assert len(await rows(database, parked)) == 1


async def test_the_original_again_after_its_redrive_is_ignored(
    recorder: RecordingService, database: Database
) -> None:
    recorder.failures["a"] = [PermanentFailure("a bug")]
    original = confirmed("a", 3)
    await work(recorder, database, original)
    await work(recorder, database, await redriven(database, 0))
    await work(recorder, database, original)
    assert await noted(recorder, database) == [("a", "confirmed")]


async def test_a_redriven_event_that_fails_again_is_parked_with_its_origin_and_all_its_attempts(
    recorder: RecordingService, database: Database
) -> None:
    recorder.failures["a"] = [PermanentFailure("a bug")] * 3
    first = confirmed("a", 3)
    await work(recorder, database, first)
    [kept] = await rows(database, parked)
    await work(recorder, database, await redriven(database, 0))
    await work(recorder, database, await redriven(database, 1))
    dead_letter = await last_message(database, "orders.fraud.dlq")
    headers, added = split_headers(load_headers(dead_letter.headers), DLQ_HEADERS)
    assert list(headers) == list(first.headers) and dead_letter.payload == first.value
    assert (added["dlq_topic"], added["dlq_kafka_offset"]) == ("orders", "3")
    assert (added["dlq_attempts"], added["dlq_redrive"]) == ("3", "2")
    assert added["dlq_first_failed_at"] == str(kept.first_failed_at)
    assert added["dlq_last_failed_at"] > str(kept.last_failed_at)
    assert len(await rows(database, parked)) == 3


async def test_an_applied_event_is_never_applied_again(
    recorder: RecordingService, database: Database
) -> None:
    await work(recorder, database, confirmed("a", 3))
    [applied] = await rows(database, inbox)
    origin = [(f"dlq_{name}", b"7") for name in ("redrive",)]
    forged = confirmed("a", 0)
    headers = [
        ("ce_id", str(applied.event_id).encode()),
        *forged.headers[2:],
        ("ce_type", b"OrderConfirmed"),
        *origin,
    ]
    await work(recorder, database, replace(forged, topic="orders.fraud.retry", headers=headers))
    assert await noted(recorder, database) == [("a", "confirmed")]


async def test_a_redrive_count_on_an_ordinary_topic_is_ignored(
    recorder: RecordingService, database: Database
) -> None:
    recorder.failures["a"] = [PermanentFailure("a bug")]
    original = confirmed("a", 3)
    await work(recorder, database, original)
    forged = replace(original, offset=4, headers=[*original.headers, ("dlq_redrive", b"9")])
    await work(recorder, database, forged)
    assert await noted(recorder, database) == []


async def test_a_redriven_event_whose_type_has_no_handler_is_parked_again(
    recorder: RecordingService, database: Database
) -> None:
    unhandled = record("OrderPlaced", "a", 0, b"")
    await work(recorder, database, unhandled)
    assert await rows(database, parked) == []
    await work(recorder, database, replace(unhandled, topic="orders.fraud.retry"))
    [dead_letter] = await rows(database, parked)
    assert "OrderPlaced, which this consumer does not handle" in dead_letter.error_message


async def test_an_old_dead_letter_that_is_redriven_again_after_a_purge_is_applied_once(
    recorder: RecordingService, database: Database
) -> None:
    recorder.failures["a"] = [PermanentFailure("a bug")]
    await work(recorder, database, cancelled("a", 3))
    async with database.transaction() as db:
        await db.execute(update(inbox).values(received_at=datetime.now(UTC) - timedelta(days=30)))
    first = await redriven(database, 0)
    await work(recorder, database, first)
    for before in (datetime.now(UTC) - timedelta(days=10), datetime.now(UTC) + timedelta(days=10)):
        await purge(database, before, asyncio.Event())
        second = replace(first, offset=first.offset + 1, headers=[*first.headers[:-1], ("dlq_redrive", b"2")])
        await work(recorder, database, second)
    assert await noted(recorder, database) == [("a", "cancelled")]


async def test_an_event_that_was_applied_meanwhile_makes_no_dead_letter(
    recorder: RecordingService, database: Database
) -> None:
    """A worker that lost its partition, or crashed after its commit, may look as if the record had crashed it."""
    record = confirmed("a", 3)
    await work(recorder, database, record)
    async with database.transaction() as db:
        assert await park(db, "fraud", [Failed(record, WorkerCrashed()), Failed(record, OSError())]) == []
    assert await rows(database, parked) == []
    assert [row.topic for row in await rows(database, outbox)] == ["fraud"]


async def test_an_event_that_is_being_applied_elsewhere_is_parked_only_if_that_fails(
    recorder: RecordingService, database: Database
) -> None:
    """A former owner of the partition has not committed yet: parking waits for it."""
    parked_now: dict[str, list[Failed]] = {}

    async def park_it(record: Record) -> None:
        async with database.transaction() as db:
            parked_now[record.header("ce_subject")] = await park(
                db, "fraud", [Failed(record, WorkerCrashed())]
            )

    for order_id, outcome in (("committed", None), ("rolled back", RuntimeError())):
        record = confirmed(order_id, 3)
        with suppress(RuntimeError):
            async with database.transaction() as former_owner:
                assert record.event_id
                await claim(former_owner, "fraud", [(record.event_id, 0)])
                parking = asyncio.create_task(park_it(record))
                await until_waiting(database)
                if outcome:
                    raise outcome
        await parking
    assert (parked_now["committed"], len(parked_now["rolled back"])) == ([], 1)


async def until_waiting(database: Database) -> None:
    """Returns when a statement of this database waits for a lock."""
    waiting = text(
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(5):
        while True:
            async with database.transaction() as db:
                if await db.scalar(waiting):
                    return
            await asyncio.sleep(0.02)
