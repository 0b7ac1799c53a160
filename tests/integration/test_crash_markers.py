"""A message that crashes the process instead of raising an error is found by its crash markers and parked unread."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.config import Settings
from chassis.consumer.batch import EventProcessor
from chassis.consumer.crash_loop import MAX_CRASHES, MAX_SEARCH_RECORDS, CrashMarkers, crash_markers
from chassis.consumer.parking import parked
from chassis.consumer.retry import Stopped
from chassis.database import Database
from chassis.events.record import Record
from schemas import OrderConfirmed
from tests.support.recording_service import RecordingService, Schemas, confirmed, counts, noted, record, rows


class Crash(BaseException):
    """Ends the process without running its error handling."""


def a_process(recorder: RecordingService, database: Database) -> EventProcessor:
    return EventProcessor(recorder.service, database, Schemas())


def crashes_on(recorder: RecordingService, *order_ids: str) -> None:
    async def read(orders: Sequence[OrderConfirmed], db: AsyncConnection) -> None:
        if any(order.order_id in order_ids for order in orders):
            raise Crash
        await recorder.confirmed(orders, db)

    recorder.service.handlers[OrderConfirmed] = read


async def crashes_until_done(
    recorder: RecordingService, database: Database, records: Sequence[Record]
) -> int:
    """Starts processes until one has processed the records; returns how many crashed before it."""
    for crashes in range(20):
        try:
            await a_process(recorder, database).process(records, asyncio.Event())
        except Crash:
            continue
        return crashes
    raise AssertionError("the processes never stop crashing")


@pytest.mark.parametrize("place", [0, 2, 4])
async def test_a_message_that_crashes_three_processes_is_parked_and_its_neighbours_are_applied_once(
    recorder: RecordingService, database: Database, place: int
) -> None:
    crashes_on(recorder, f"order-{place}")
    records = [confirmed(f"order-{n}", n) for n in range(5)]
    assert await crashes_until_done(recorder, database, records) == MAX_CRASHES
    assert sorted(order_id for order_id, _ in await noted(recorder, database)) == [
        f"order-{n}" for n in range(5) if n != place
    ]
    [kept] = await rows(database, parked)
    assert (kept.kafka_offset, kept.error_type, kept.attempts) == (place, "WorkerCrashed", MAX_CRASHES)
    assert kept.value == records[place].value
    assert await rows(database, crash_markers) == []


async def test_two_crashing_messages_are_both_found(recorder: RecordingService, database: Database) -> None:
    crashes_on(recorder, "order-1", "order-3")
    await crashes_until_done(recorder, database, [confirmed(f"order-{n}", n) for n in range(5)])
    assert [row.kafka_offset for row in await rows(database, parked)] == [1, 3]
    assert len(await noted(recorder, database)) == 3


async def test_a_message_that_crashes_the_decoder_is_parked_unread(
    recorder: RecordingService, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read(*_: object) -> None:
        raise Crash

    monkeypatch.setattr("chassis.consumer.batch.decode_record", read)
    await crashes_until_done(recorder, database, [record("OrderConfirmed", "bomb", 7, b"a small bomb")])
    [kept] = await rows(database, parked)
    assert (kept.kafka_offset, kept.value) == (7, b"a small bomb")


async def test_a_search_processes_alone_only_what_has_a_handler(
    recorder: RecordingService, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone: set[int] = set()
    unpatched = CrashMarkers.alone_in_progress

    def noticed(
        markers: CrashMarkers, record: Record, counts_as_crash: bool
    ) -> AbstractAsyncContextManager[None]:
        alone.add(record.offset)
        return unpatched(markers, record, counts_as_crash)

    monkeypatch.setattr(CrashMarkers, "alone_in_progress", noticed)
    crashes_on(recorder, "crashing")
    records = [record("OrderPlaced", f"order-{n}", n, b"never read") for n in range(50)]
    await crashes_until_done(recorder, database, [*records, confirmed("crashing", 50)])
    assert alone == {50}
    assert [row.kafka_offset for row in await rows(database, parked)] == [50]


async def test_a_partition_that_is_revoked_cleanly_leaves_no_marker(
    recorder: RecordingService, database: Database
) -> None:
    """A slow batch whose partition is reassigned again and again does not become a culprit."""
    crashes_on(recorder, "slow")
    for _ in range(3 * MAX_CRASHES):
        process = a_process(recorder, database)
        with pytest.raises(Crash):
            await process.process([confirmed("slow", 0)], asyncio.Event())
        await process.release([("orders", 0)])
    assert await rows(database, parked) == []


async def test_only_the_first_batch_of_a_partition_writes_a_marker(
    recorder: RecordingService, database: Database
) -> None:
    process = a_process(recorder, database)
    await process.process([confirmed("a", 0)], asyncio.Event())
    await process.process([confirmed("b", 1)], asyncio.Event())
    [marker] = await rows(database, crash_markers)
    assert (marker.kafka_offset, marker.times) == (0, 1)


async def test_a_crash_at_another_offset_starts_a_new_count(
    recorder: RecordingService, database: Database
) -> None:
    crashes_on(recorder, *(f"order-{n}" for n in range(9)))
    for offset in range(9):
        with pytest.raises(Crash):
            await a_process(recorder, database).process(
                [confirmed(f"order-{offset}", offset)], asyncio.Event()
            )
        [marker] = await rows(database, crash_markers)
        assert (marker.kafka_offset, marker.times) == (offset, 1)
    assert await rows(database, parked) == []


async def test_only_the_culprit_is_parked_though_all_partitions_have_work(
    recorder: RecordingService, database: Database
) -> None:
    """Six partitions are processed concurrently, and one record of one of them crashes the process."""
    crashes_on(recorder, "order-2-0")
    partitions = [[of(partition, n) for n in range(20)] for partition in range(6)]
    crashed = 0
    while await crashes(a_process(recorder, database), partitions):
        crashed += 1
        assert crashed <= MAX_CRASHES
    [kept] = await rows(database, parked)
    assert (kept.partition, kept.kafka_offset, kept.error_type) == (2, 0, "WorkerCrashed")
    assert len(await noted(recorder, database)) == 6 * 20 - 1


async def crashes(process: EventProcessor, partitions: Sequence[Sequence[Record]]) -> bool:
    """Returns True if the process crashes on these partitions; then the others are cancelled."""
    working = [asyncio.create_task(process.process(records, asyncio.Event())) for records in partitions]
    done, pending = await asyncio.wait(working, return_when=asyncio.FIRST_EXCEPTION)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    return any(task.exception() for task in done)


def of(partition: int, offset: int) -> Record:
    return replace(confirmed(f"order-{partition}-{offset}", offset), partition=partition)


async def test_after_a_crash_one_record_of_all_partitions_is_in_progress_at_a_time(
    recorder: RecordingService, database: Database
) -> None:
    in_progress, most = 0, 0

    async def read(orders: Sequence[OrderConfirmed], db: AsyncConnection) -> None:
        nonlocal in_progress, most
        in_progress += len(orders)
        most = max(most, in_progress)
        await recorder.confirmed(orders, db)
        in_progress -= len(orders)

    crashes_on(recorder, "order-0-0")
    with pytest.raises(Crash):
        await a_process(recorder, database).process([of(0, 0)], asyncio.Event())
    recorder.service.handlers[OrderConfirmed] = read
    process, stop = a_process(recorder, database), asyncio.Event()
    partitions = [[of(partition, n) for n in range(5)] for partition in range(4)]
    await asyncio.gather(*(process.process(records, stop) for records in partitions))
    assert len(await noted(recorder, database)) == 20
    assert most == 1


async def test_five_hundred_records_behind_a_culprit_take_seconds(
    recorder: RecordingService, database: Database
) -> None:
    crashes_on(recorder, "order-499")
    records = [confirmed(f"order-{n}", n) for n in range(500)]
    began = time.monotonic()
    await crashes_until_done(recorder, database, records)
    print(f"{time.monotonic() - began:.1f} s")
    assert time.monotonic() - began < 30
    assert [row.kafka_offset for row in await rows(database, parked)] == [499]
    assert len(await noted(recorder, database)) == 499


async def test_after_a_crash_records_that_the_inbox_has_are_not_decoded_again(
    recorder: RecordingService, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [confirmed(f"order-{n}", n) for n in range(5)]
    await a_process(recorder, database).process(records, asyncio.Event())
    decoded = list[Record]()

    async def decode_record(record: Record, *_: object) -> None:
        decoded.append(record)

    monkeypatch.setattr("chassis.consumer.batch.decode_record", decode_record)
    await a_process(recorder, database).process(records, asyncio.Event())
    assert decoded == []
    assert await counts(database) == {
        "received": 10,
        "applied": 5,
        "duplicates": 5,
        "parked": 0,
        "next_offset": 5,
    }


async def test_a_message_behind_many_that_are_read_again_after_each_crash_is_found(
    recorder: RecordingService, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker crashes before its first commit of offsets to Kafka, so each process begins at the same offset."""
    monkeypatch.setattr("chassis.consumer.crash_loop.MAX_SEARCH_RECORDS", 6)
    crashes_on(recorder, "order-29")
    records = [confirmed(f"order-{n}", n) for n in range(30)]
    crashes = 0
    while await rows(database, parked) == []:
        process = a_process(recorder, database)
        with suppress(Crash):
            for offset in range(0, 30, 3):
                await process.process(records[offset : offset + 3], asyncio.Event())
            continue
        crashes += 1
        assert crashes <= MAX_CRASHES + 1
    assert [row.kafka_offset for row in await rows(database, parked)] == [29]
    assert len(await noted(recorder, database)) == 29


async def test_without_a_culprit_the_search_ends_after_the_records_that_may_have_been_in_progress(
    recorder: RecordingService, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing crashes the second process, so it goes back to batches after as many records as a batch may have."""
    assert Settings(database_url="").batch_size == MAX_SEARCH_RECORDS
    monkeypatch.setattr("chassis.consumer.crash_loop.MAX_SEARCH_RECORDS", 6)
    await a_crash(recorder, database)
    process = a_process(recorder, database)
    for offset in range(0, 12, 3):
        await process.process(three_from(offset), asyncio.Event())
    assert list(map(len, recorder.batches)) == [1] * 6 + [3, 3]
    assert await rows(database, parked) == []


async def test_without_a_culprit_the_search_ends_after_ten_seconds(
    recorder: RecordingService, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await a_crash(recorder, database)
    process, clock = a_process(recorder, database), [time.monotonic()]
    monkeypatch.setattr("chassis.consumer.crash_loop.monotonic", lambda: clock[0])
    for seconds in (0.0, 9.0, 2.0, 0.0):
        clock[0] += seconds
        await process.process(three_from(len(await noted(recorder, database))), asyncio.Event())
    assert list(map(len, recorder.batches)) == [1] * 9 + [3]
    assert await rows(database, parked) == []


async def a_crash(recorder: RecordingService, database: Database) -> None:
    """Ends a process in the middle of a batch that does not crash the next one."""
    crashes_on(recorder, "order-0")
    with pytest.raises(Crash):
        await a_process(recorder, database).process(three_from(0), asyncio.Event())
    recorder.service.handlers[OrderConfirmed] = recorder.confirmed


def three_from(offset: int) -> list[Record]:
    return [confirmed(f"order-{n}", n) for n in range(offset, offset + 3)]


async def test_a_record_that_waits_for_an_outage_when_its_worker_is_killed_is_not_suspected(
    recorder: RecordingService, database: Database
) -> None:
    """The registry is down, and the worker is killed more often than a culprit would need."""
    for _ in range(3 * MAX_CRASHES):
        process = EventProcessor(recorder.service, database, Schemas(away=10**6))
        stop = asyncio.Event()
        waiting = asyncio.create_task(process.process([confirmed("a", 0)], stop))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        stop.set()  # and no `release`: the process ends here
        with pytest.raises(Stopped):
            await waiting
    await a_process(recorder, database).process([confirmed("a", 0)], asyncio.Event())
    assert await rows(database, parked) == []
    assert len(await noted(recorder, database)) == 1


async def test_a_culprit_is_found_though_partitions_are_reassigned_meanwhile(
    recorder: RecordingService, database: Database
) -> None:
    """A process whose partitions are revoked before it has found the culprit leaves its markers to the next one."""
    crashes_on(recorder, "order-1")
    records = [confirmed(f"order-{n}", n) for n in range(3)]
    for _ in range(MAX_CRASHES):
        with pytest.raises(Crash):
            await a_process(recorder, database).process(records, asyncio.Event())
        between, stop = a_process(recorder, database), asyncio.Event()
        stop.set()
        await between._recovery._crash_markers.mark_in_progress(records)
        await between.release([("orders", 0)])
    await a_process(recorder, database).process(records, asyncio.Event())
    [kept] = await rows(database, parked)
    assert kept.kafka_offset == 1
