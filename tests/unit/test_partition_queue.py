"""Partition queues process records in order, one batch at a time, and independently of each other."""

import asyncio
from collections.abc import Sequence

from chassis.consumer.offsets import Offsets
from chassis.consumer.partition_queue import PartitionQueue
from chassis.events.record import Record


def records(*offsets: int) -> list[Record]:
    return [Record("orders", 0, offset, 0, None, None, ()) for offset in offsets]


class GatedProcessor:
    """Records the batches it processes; they wait until `gate` is set."""

    def __init__(self) -> None:
        self.offsets = Offsets("")
        self.gate = asyncio.Event()
        self.done: list[list[int]] = []
        self.has_progress = asyncio.Event()

    async def process(self, batch: Sequence[Record], stop: asyncio.Event) -> None:
        await self.gate.wait()
        self.done.append([record.offset for record in batch])

    async def release(self, partitions: Sequence[tuple[str, int]]) -> None:
        raise AssertionError("a queue does not release partitions itself")

    def queue(self, batch_size: int = 3) -> PartitionQueue:
        return PartitionQueue(self, lambda: self.has_progress.set(), batch_size)

    async def until_progress(self) -> None:
        async with asyncio.timeout(5):
            await self.has_progress.wait()
            self.has_progress.clear()


async def test_records_are_processed_in_order_in_batches() -> None:
    processor = GatedProcessor()
    processor.gate.set()
    queue = processor.queue()
    queue.put(records(0, 1, 2, 3, 4))
    while queue.next_offset != 5:
        await processor.until_progress()
    assert processor.done == [[0, 1, 2], [3, 4]]
    assert await queue.stop(1)


async def test_the_offset_moves_only_after_the_batch() -> None:
    processor = GatedProcessor()
    queue = processor.queue()
    queue.put(records(7))
    await asyncio.sleep(0)
    assert queue.next_offset is None
    processor.gate.set()
    await processor.until_progress()
    assert queue.next_offset == 8
    assert await queue.stop(1)


async def test_a_queue_that_waits_delays_no_other() -> None:
    stuck, free = GatedProcessor(), GatedProcessor()
    free.gate.set()
    waiting, moving = stuck.queue(), free.queue()
    waiting.put(records(0))
    moving.put(records(0, 1))
    await free.until_progress()
    assert (moving.next_offset, waiting.next_offset) == (2, None)
    stuck.gate.set()
    assert await waiting.stop(1) and await moving.stop(1)


async def test_a_full_queue_has_no_room_until_it_has_processed_a_batch() -> None:
    processor = GatedProcessor()
    queue = processor.queue(batch_size=2)
    queue.put(records(0, 1, 2, 3, 4))
    await asyncio.sleep(0)
    assert not queue.has_room
    processor.gate.set()
    while queue.next_offset != 5:
        await processor.until_progress()
    assert queue.has_room
    assert await queue.stop(1)


async def test_a_queue_of_few_large_records_has_no_room() -> None:
    processor = GatedProcessor()
    queue = processor.queue(batch_size=500)
    queue.put([Record("orders", 0, offset, 0, None, bytes(2**20), ()) for offset in range(6)])
    assert not queue.has_room
    processor.gate.set()
    await processor.until_progress()
    assert queue.has_room
    assert await queue.stop(1)


async def test_stopping_finishes_the_batch_in_progress_and_drops_the_rest() -> None:
    processor = GatedProcessor()
    queue = processor.queue(batch_size=2)
    queue.put(records(0, 1, 2, 3))
    await asyncio.sleep(0)
    stopping = asyncio.create_task(queue.stop(5))
    await asyncio.sleep(0)
    processor.gate.set()
    assert await stopping
    assert (processor.done, queue.next_offset) == ([[0, 1]], 2)


async def test_a_queue_reports_an_unexpected_error() -> None:
    class Broken(GatedProcessor):
        async def process(self, batch: Sequence[Record], stop: asyncio.Event) -> None:
            raise RuntimeError("a bug")

    queue = Broken().queue()
    queue.put(records(0))
    while queue.error is None:
        await asyncio.sleep(0)
    assert isinstance(queue.error, RuntimeError)
