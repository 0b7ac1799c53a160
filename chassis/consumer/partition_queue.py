"""The queue of one partition and the task that processes it, so that a slow partition delays no other."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from chassis.consumer.offsets import Offsets, Partition
from chassis.consumer.retry import Stopped
from chassis.events.record import Record
from chassis.liveness import Heartbeat, set_heartbeat

QUEUE_BYTES = 2**22
"""A queue with this many bytes is full: 500 records of one mebibyte would be half a gigabyte."""


class RecordProcessor(Protocol):
    """Processes the records of a partition; `release` is called when partitions were revoked cleanly."""

    offsets: Offsets

    async def process(self, records: Sequence[Record], stop: asyncio.Event) -> None: ...

    async def release(self, partitions: Sequence[Partition]) -> None: ...


class PartitionQueue:
    """Processes records in order, one batch after the other.

    Everything before `next_offset` is in the database, so `next_offset` may be committed to Kafka.
    """

    def __init__(self, processor: RecordProcessor, on_progress: Callable[[], None], batch_size: int) -> None:
        self.next_offset: int | None = None
        self.max_records, self.max_bytes = batch_size, QUEUE_BYTES
        self._processor = processor
        self._on_progress = on_progress
        self._batch_size = batch_size
        self._records: deque[Record] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        self._stop = asyncio.Event()
        self._heartbeat = Heartbeat()
        self._is_busy = False
        self._task = asyncio.create_task(self._process_batches())

    def put(self, records: Sequence[Record]) -> None:
        self._records.extend(records)
        self._bytes += sum(record.size for record in records)
        self._filled.set()

    async def _process_batches(self) -> None:
        set_heartbeat(self._heartbeat)
        while not self._stop.is_set():
            if not self._records:
                self._filled.clear()
                await self._filled.wait()
                continue
            self._heartbeat.beat()
            self._is_busy = True
            batch = self._next_batch()
            try:
                await self._processor.process(batch, self._stop)
            except Stopped:
                return
            self._is_busy = False
            self.next_offset = batch[-1].offset + 1
            self._on_progress()

    def _next_batch(self) -> list[Record]:
        batch = [self._records.popleft() for _ in range(min(self._batch_size, len(self._records)))]
        self._bytes -= sum(record.size for record in batch)
        return batch

    async def stop(self, seconds: float) -> bool:
        """Finishes the batch in progress and drops the rest; returns False if that takes longer than `seconds`."""
        self._stop.set()
        self._filled.set()
        done, _ = await asyncio.wait({self._task}, timeout=seconds)
        return bool(done)

    @property
    def has_room(self) -> bool:
        """True if at most half of it is filled, so that the next batch is here when the current one is done."""
        return len(self._records) * 2 <= self.max_records and self._bytes < self.max_bytes

    @property
    def is_active(self) -> bool:
        return self._is_busy or bool(self._records)

    @property
    def error(self) -> BaseException | None:
        """The unexpected error that ended the task, if any."""
        return self._task.exception() if self._task.done() and not self._task.cancelled() else None

    @property
    def silent_seconds(self) -> float:
        """For how many seconds the batch in progress has shown no heartbeat."""
        return self._heartbeat.silent_seconds if self._is_busy else 0.0
