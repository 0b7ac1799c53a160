"""Lanes: in order, one batch at a time, none waiting for another; what is stopped leaves no half-done batch."""

import asyncio
from collections.abc import Sequence

from chassis.consumer.partition_queue import PartitionQueue
from chassis.events.record import Record


def records(*offsets: int) -> list[Record]:
    return [Record("orders", 0, offset, 0, None, None, ()) for offset in offsets]


class Work:
    """Counts what it is given; while the gate is closed, batches wait in it."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.done: list[list[int]] = []
        self.moved = asyncio.Event()

    async def process(self, batch: Sequence[Record], stop: asyncio.Event) -> None:
        await self.gate.wait()
        self.done.append([record.offset for record in batch])

    async def release(self, partitions: Sequence[tuple[str, int]]) -> None:
        raise AssertionError("a lane belongs to somebody who leaves for it")

    def lane(self, batch_size: int = 3) -> PartitionQueue:
        return PartitionQueue(self, lambda: self.moved.set(), batch_size)

    async def until_moved(self) -> None:
        async with asyncio.timeout(5):
            await self.moved.wait()
            self.moved.clear()


async def test_records_are_worked_off_in_order_in_batches() -> None:
    work = Work()
    work.gate.set()
    lane = work.lane()
    lane.put(records(0, 1, 2, 3, 4))
    while lane.next_offset != 5:
        await work.until_moved()
    assert work.done == [[0, 1, 2], [3, 4]]
    assert await lane.stop(1)


async def test_the_offset_moves_only_after_the_batch() -> None:
    work = Work()
    lane = work.lane()
    lane.put(records(7))
    await asyncio.sleep(0)
    assert lane.next_offset is None
    work.gate.set()
    await work.until_moved()
    assert lane.next_offset == 8
    assert await lane.stop(1)


async def test_a_lane_that_waits_delays_no_other() -> None:
    stuck, free = Work(), Work()
    free.gate.set()
    waiting, moving = stuck.lane(), free.lane()
    waiting.put(records(0))
    moving.put(records(0, 1))
    await free.until_moved()
    assert (moving.next_offset, waiting.next_offset) == (2, None)
    stuck.gate.set()
    assert await waiting.stop(1) and await moving.stop(1)


async def test_a_full_lane_has_no_room_until_it_has_worked() -> None:
    work = Work()
    lane = work.lane(batch_size=2)
    lane.put(records(0, 1, 2, 3, 4))
    await asyncio.sleep(0)
    assert not lane.has_room
    work.gate.set()
    while lane.next_offset != 5:
        await work.until_moved()
    assert lane.has_room
    assert await lane.stop(1)


async def test_a_lane_that_holds_megabytes_has_no_room_however_few_they_are() -> None:
    work = Work()
    lane = work.lane(batch_size=500)
    lane.put([Record("orders", 0, offset, 0, None, bytes(2**20), ()) for offset in range(6)])
    assert not lane.has_room
    work.gate.set()
    await work.until_moved()
    assert lane.has_room
    assert await lane.stop(1)


async def test_stopping_finishes_the_batch_in_hand_and_forgets_the_rest() -> None:
    work = Work()
    lane = work.lane(batch_size=2)
    lane.put(records(0, 1, 2, 3))
    await asyncio.sleep(0)
    stopping = asyncio.create_task(lane.stop(5))
    await asyncio.sleep(0)
    work.gate.set()
    assert await stopping
    assert (work.done, lane.next_offset) == ([[0, 1]], 2)


async def test_a_lane_that_breaks_says_so() -> None:
    class Broken(Work):
        async def process(self, batch: Sequence[Record], stop: asyncio.Event) -> None:
            raise RuntimeError("a bug")

    lane = Broken().lane()
    lane.put(records(0))
    while lane.error is None:
        await asyncio.sleep(0)
    assert isinstance(lane.error, RuntimeError)
