"""One partition's queue and the task that works it off, so that a lane that waits delays no other."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from chassis.consumer.outages import Stopped
from chassis.events.record import Record
from chassis.liveness import Heartbeat, set_heartbeat

Processed = Callable[["Lane"], None]

QUEUE_BYTES = 2**22
"""No more is asked for while a lane holds that much: 500 records of a mebibyte would be half a gigabyte."""

log = structlog.get_logger()


class Works(Protocol):
    """What is done with the records of one partition; `leave` says that others will go on with them."""

    async def process(self, records: Sequence[Record], stop: asyncio.Event) -> None: ...

    async def leave(self, partitions: Sequence[tuple[str, int]]) -> None: ...


class Lane:
    """`next_offset` is what may be committed to Kafka: everything before it is in the database."""

    def __init__(self, works: Works, on_progress: Processed, batch_size: int) -> None:
        self.next_offset: int | None = None
        self._works = works
        self._on_progress = on_progress
        self._batch_size = batch_size
        self.queue_records, self.queue_bytes = batch_size, QUEUE_BYTES
        self._queue: deque[Record] = deque()
        self._queued_bytes = 0
        self._filled = asyncio.Event()
        self._stop = asyncio.Event()
        self._heartbeat = Heartbeat()
        self._is_busy = False
        self._task = asyncio.create_task(self._work())

    @property
    def has_room(self) -> bool:
        """Whether half a batch more may be queued, so that the next one is there when the one in hand is done."""
        return len(self._queue) * 2 <= self.queue_records and self._queued_bytes < self.queue_bytes

    @property
    def is_active(self) -> bool:
        return self._is_busy or bool(self._queue)

    @property
    def error(self) -> BaseException | None:
        """What broke the lane, if something did: it never ends by itself."""
        return self._task.exception() if self._task.done() and not self._task.cancelled() else None

    @property
    def silent_seconds(self) -> float:
        """For how long it has shown no sign of life although it has something to do."""
        return self._heartbeat.silent_seconds if self._is_busy else 0.0

    def offer(self, records: Sequence[Record]) -> None:
        self._queue.extend(records)
        self._queued_bytes += sum(record.size for record in records)
        self._filled.set()

    async def stop(self, seconds: float) -> bool:
        """Lets the transaction in hand finish, forgets the rest; False if it took longer than that."""
        self._stop.set()
        self._filled.set()
        done, _ = await asyncio.wait({self._task}, timeout=seconds)
        return bool(done)

    async def _work(self) -> None:
        set_heartbeat(self._heartbeat)
        while not self._stop.is_set():
            if not self._queue:
                self._filled.clear()
                await self._filled.wait()
                continue
            self._heartbeat.beat()
            self._is_busy = True
            batch = [self._queue.popleft() for _ in range(min(self._batch_size, len(self._queue)))]
            self._queued_bytes -= sum(record.size for record in batch)
            try:
                await self._works.process(batch, self._stop)
            except Stopped:
                return
            self._is_busy = False
            self.next_offset = batch[-1].offset + 1
            self._on_progress(self)
