"""A message that ends the process instead of raising: it is found by its trail of deaths, and parked unread."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.consumer.batch import EventProcessor
from chassis.consumer.crash_loop import MAX_CRASHES, crash_markers
from chassis.consumer.parking import parked
from chassis.consumer.retry import Stopped
from chassis.database import Database
from chassis.events.record import Record
from schemas import OrderConfirmed
from tests.support.recording_service import RecordingService, Schemas, confirmed, counts, noted, record, rows


class Death(BaseException):
    """Ends the process: nothing in it gets to clean up."""


def a_process(recorder: RecordingService, database: Database) -> EventProcessor:
    return EventProcessor(recorder.service, database, Schemas())  # type: ignore[arg-type]


def kills(recorder: RecordingService, *order_ids: str) -> None:
    async def read(orders: Sequence[OrderConfirmed], db: AsyncConnection) -> None:
        if any(order.order_id in order_ids for order in orders):
            raise Death
        await recorder.confirmed(orders, db)

    recorder.service.handlers[OrderConfirmed] = read


async def lives_until_done(recorder: RecordingService, database: Database, records: Sequence[Record]) -> int:
    """How many processes died on the way."""
    for deaths in range(20):
        try:
            await a_process(recorder, database).process(records, asyncio.Event())
        except Death:
            continue
        return deaths
    raise AssertionError("they die for ever")


@pytest.mark.parametrize("place", [0, 2, 4])
async def test_what_kills_three_times_is_parked_and_its_neighbours_are_applied_once(
    recorder: RecordingService, database: Database, place: int
) -> None:
    kills(recorder, f"order-{place}")
    records = [confirmed(f"order-{n}", n) for n in range(5)]
    assert await lives_until_done(recorder, database, records) == MAX_CRASHES
    assert sorted(order_id for order_id, _ in await noted(recorder, database)) == [
        f"order-{n}" for n in range(5) if n != place
    ]
    [kept] = await rows(database, parked)
    assert (kept.kafka_offset, kept.error_type, kept.attempts) == (place, "WorkerCrashed", MAX_CRASHES)
    assert kept.value == records[place].value
    assert await rows(database, crash_markers) == []


async def test_two_that_kill_are_both_found(recorder: RecordingService, database: Database) -> None:
    kills(recorder, "order-1", "order-3")
    await lives_until_done(recorder, database, [confirmed(f"order-{n}", n) for n in range(5)])
    assert [row.kafka_offset for row in await rows(database, parked)] == [1, 3]
    assert len(await noted(recorder, database)) == 3


async def test_one_that_cannot_even_be_read_is_parked_unread(
    recorder: RecordingService, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read(*_: object) -> None:
        raise Death

    monkeypatch.setattr("chassis.consumer.batch.decode_record", read)
    await lives_until_done(recorder, database, [record("OrderConfirmed", "bomb", 7, b"a small bomb")])
    [kept] = await rows(database, parked)
    assert (kept.kafka_offset, kept.value) == (7, b"a small bomb")


async def test_a_worker_that_leaves_in_good_order_blames_nobody(
    recorder: RecordingService, database: Database
) -> None:
    """A slow batch that changes hands again and again is no killer."""
    kills(recorder, "slow")
    for _ in range(3 * MAX_CRASHES):
        process = a_process(recorder, database)
        with pytest.raises(Death):
            await process.process([confirmed("slow", 0)], asyncio.Event())
        await process.release([("orders", 0)])
    assert await rows(database, parked) == []


async def test_only_the_first_batch_of_a_partition_is_noted(
    recorder: RecordingService, database: Database
) -> None:
    process = a_process(recorder, database)
    await process.process([confirmed("a", 0)], asyncio.Event())
    await process.process([confirmed("b", 1)], asyncio.Event())
    [note] = await rows(database, crash_markers)
    assert (note.kafka_offset, note.times) == (0, 1)


async def test_a_death_at_another_place_starts_a_new_count(
    recorder: RecordingService, database: Database
) -> None:
    kills(recorder, *(f"order-{n}" for n in range(9)))
    for offset in range(9):
        with pytest.raises(Death):
            await a_process(recorder, database).process(
                [confirmed(f"order-{offset}", offset)], asyncio.Event()
            )
        [note] = await rows(database, crash_markers)
        assert (note.kafka_offset, note.times) == (offset, 1)
    assert await rows(database, parked) == []


async def test_only_the_culprit_is_parked_though_all_partitions_have_work(
    recorder: RecordingService, database: Database
) -> None:
    """Six partitions are processed side by side, and one record of one of them kills the process."""
    kills(recorder, "order-2-0")
    partitions = [[of(partition, n) for n in range(20)] for partition in range(6)]
    deaths = 0
    while await dies(a_process(recorder, database), partitions):
        deaths += 1
        assert deaths <= MAX_CRASHES
    [kept] = await rows(database, parked)
    assert (kept.partition, kept.kafka_offset, kept.error_type) == (2, 0, "WorkerCrashed")
    assert len(await noted(recorder, database)) == 6 * 20 - 1


async def dies(process: EventProcessor, partitions: Sequence[Sequence[Record]]) -> bool:
    """Whether the process dies of these partitions. If it does, all of them stop where they are."""
    lanes = [asyncio.create_task(process.process(records, asyncio.Event())) for records in partitions]
    done, pending = await asyncio.wait(lanes, return_when=asyncio.FIRST_EXCEPTION)
    for lane in pending:
        lane.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    return any(lane.exception() for lane in done)


def of(partition: int, offset: int) -> Record:
    return replace(confirmed(f"order-{partition}-{offset}", offset), partition=partition)


async def test_after_a_death_one_record_of_all_partitions_is_in_hand_at_a_time(
    recorder: RecordingService, database: Database
) -> None:
    in_hand, most = 0, 0

    async def read(orders: Sequence[OrderConfirmed], db: AsyncConnection) -> None:
        nonlocal in_hand, most
        in_hand += len(orders)
        most = max(most, in_hand)
        await recorder.confirmed(orders, db)
        in_hand -= len(orders)

    kills(recorder, "order-0-0")
    with pytest.raises(Death):
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
    kills(recorder, "order-499")
    records = [confirmed(f"order-{n}", n) for n in range(500)]
    began = time.monotonic()
    await lives_until_done(recorder, database, records)
    print(f"{time.monotonic() - began:.1f} s")
    assert time.monotonic() - began < 30
    assert [row.kafka_offset for row in await rows(database, parked)] == [499]
    assert len(await noted(recorder, database)) == 499


async def test_what_the_inbox_has_is_not_read_again_after_a_death(
    recorder: RecordingService, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [confirmed(f"order-{n}", n) for n in range(5)]
    await a_process(recorder, database).process(records, asyncio.Event())

    async def read(*_: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr("chassis.consumer.batch.decode_record", read)
    await a_process(recorder, database).process(records, asyncio.Event())
    assert await counts(database) == {
        "received": 10,
        "applied": 5,
        "duplicates": 5,
        "parked": 0,
        "next_offset": 5,
    }


async def test_a_worker_that_is_killed_while_it_waits_for_an_outage_suspects_nobody(
    recorder: RecordingService, database: Database
) -> None:
    """However often it is killed: the registry is away, and the record is never to blame."""
    for _ in range(3 * MAX_CRASHES):
        process = EventProcessor(recorder.service, database, Schemas(away=10**6))  # type: ignore[arg-type]
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


async def test_a_culprit_is_found_though_partitions_change_hands_meanwhile(
    recorder: RecordingService, database: Database
) -> None:
    """A process that gives its partitions up before it has found out leaves what it knows to the next."""
    kills(recorder, "order-1")
    records = [confirmed(f"order-{n}", n) for n in range(3)]
    for _ in range(MAX_CRASHES):
        with pytest.raises(Death):
            await a_process(recorder, database).process(records, asyncio.Event())
        between, stop = a_process(recorder, database), asyncio.Event()
        stop.set()
        await between._recovery._crash_markers.mark_in_progress(records)
        await between.release([("orders", 0)])
    await a_process(recorder, database).process(records, asyncio.Event())
    [kept] = await rows(database, parked)
    assert kept.kafka_offset == 1
