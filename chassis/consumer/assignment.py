"""Opens a queue for each partition that Kafka assigns, and releases all of them at a rebalance or at the end."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import IllegalStateError
from aiokafka.structs import OffsetAndMetadata

from chassis.consumer.catch_up import first_offsets
from chassis.consumer.held import HeldPartitions
from chassis.consumer.partition_queue import PartitionQueue, RecordProcessor
from chassis.consumer.positions import Positions
from chassis.consumer.retry import Stopped, wait_out_outages

STOP_SECONDS = 3.0
QUEUED_RECORDS, QUEUED_BYTES = 2_000, 8 * 2**20
"""Limits of all queues together; batches in progress come on top."""
SMALLEST_QUEUE = 25

log = structlog.get_logger()

Queues = Mapping[TopicPartition, PartitionQueue]


class SessionFailed(Exception):
    """A task of the session ended with an unexpected error; a new session reads its records again."""


class Assignment(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is untyped
    """The queues of the partitions that are assigned to a session, and which of the partitions are held."""

    def __init__(
        self,
        client: AIOKafkaConsumer,
        positions: Positions,
        processor: RecordProcessor,
        new_queue: Callable[[], PartitionQueue],
        commit: Callable[[Queues], Awaitable[None]],
    ) -> None:
        self.queues: Queues = {}
        self.held = HeldPartitions(positions.consumer, positions.database)
        self._client = client
        self._positions = positions
        self._processor = processor
        self._new_queue = new_queue
        self._commit = commit
        self._error: BaseException | None = None
        self._revoked = asyncio.Event()
        self._releasing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Opens the queues in the background: the client must stay in its group while the database is down.

        Until then the partitions are paused: a poll that began before the rebalance would skip what it gets of them.
        """
        partitions = list(assigned)
        self._client.pause(*partitions)
        self._revoked = asyncio.Event()
        self.in_background(self._open(partitions, self._revoked))

    async def _open(self, assigned: Sequence[TopicPartition], revoked: asyncio.Event) -> None:
        """Opens a queue for each partition, at the lower one of Kafka's and the database's offset."""
        load = partial(self._positions.load, assigned)
        with suppress(Stopped, IllegalStateError):  # revoked meanwhile
            offsets = await wait_out_outages(load, revoked, self._positions.consumer)
            for partition, offset in offsets.items():
                await self._rewind(TopicPartition(*partition), offset)
            await self._begin_catch_up(assigned, revoked)
            if revoked.is_set():
                return
            self.queues = {**self.queues, **{partition: self._new_queue() for partition in assigned}}
            self._client.resume(*assigned)
            log.info("partitions_assigned", partitions=len(self.queues))

    async def _rewind(self, partition: TopicPartition, offset: int) -> None:
        if offset < (position := await self._client.position(partition)):
            topic, number = partition
            log.warning("partition_rewound", topic=topic, partition=number, offset=offset, kafka=position)
            self._client.seek(partition, offset)

    async def _begin_catch_up(self, assigned: Sequence[TopicPartition], revoked: asyncio.Event) -> None:
        """Sets partitions back to the first event that an earlier release ignored and this one handles."""
        consumer, catch_up = self._positions.consumer, self._positions.catch_up
        found = await wait_out_outages(partial(catch_up.find, assigned), revoked, consumer)
        if not found:
            return
        begins = {TopicPartition(*partition): offset for partition, offset in first_offsets(found).items()}
        for partition, offset in begins.items():
            await self._rewind(partition, offset)
        reached = {partition: await self._client.position(partition) for partition in begins}
        await self._client.commit({each: OffsetAndMetadata(at, "") for each, at in reached.items()})
        await wait_out_outages(partial(catch_up.begin, found), revoked, consumer)

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        await self.release()

    async def release(self) -> None:
        """Stops all queues and stores their offsets. A rebalance and a SIGTERM may call it at the same time."""
        async with self._releasing:
            self._revoked.set()
            queues, self.queues = self.queues, {}
            self.held.clear()
            if not queues:
                return
            finished = await asyncio.gather(*(queue.stop(STOP_SECONDS) for queue in queues.values()))
            if not all(finished):
                log.warning("batches_still_in_progress", partitions=finished.count(False))
            await self._commit(queues)
            reached = {partition: queue.next_offset for partition, queue in queues.items()}
            await asyncio.gather(self._processor.release(list(reached)), self._positions.store(reached))

    def share_memory(self, batch_size: int) -> None:
        """Gives each queue an equal part of the limits; queues without work do not count."""
        active = max(sum(queue.is_active for queue in self.queues.values()), 1)
        for queue in self.queues.values():
            queue.max_records = min(batch_size, max(SMALLEST_QUEUE, QUEUED_RECORDS // active))
            queue.max_bytes = QUEUED_BYTES // active

    def in_background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Starts a task whose error `raise_background_error` raises."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def raise_background_error(self) -> None:
        """Raises SessionFailed if a queue or another task of the session ended with an unexpected error."""
        for error in filter(None, [self._error, *(queue.error for queue in self.queues.values())]):
            raise SessionFailed(repr(error)) from error

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._error = error
