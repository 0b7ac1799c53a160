"""Opens a queue for each partition that Kafka assigns, and releases all of them at a rebalance or at the end."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import IllegalStateError
from aiokafka.structs import OffsetAndMetadata

from chassis.consumer.catch_up import first_offsets
from chassis.consumer.held import HeldPartitions
from chassis.consumer.offsets import Partition
from chassis.consumer.partition_queue import PartitionQueue, RecordProcessor
from chassis.consumer.positions import Openings, PartitionLogs, Positions
from chassis.consumer.replays import replayed_until
from chassis.consumer.retry import Stopped, is_outage, wait_out_outages
from chassis.telemetry import metrics

STOP_SECONDS = 3.0
WATCH_SECONDS = 5.0
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
        self._topic_ids: Mapping[str, UUID] = {}
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
        """Opens a queue for each partition, at the offset from which it has to be read (opening.py)."""
        positions = self._positions
        with suppress(Stopped, IllegalStateError):  # revoked meanwhile
            logs = await wait_out_outages(partial(positions.logs, assigned), revoked, positions.consumer)
            openings = await wait_out_outages(
                partial(positions.open, assigned, logs), revoked, positions.consumer
            )
            if revoked.is_set():
                return
            for partition, opened in openings.items():
                self._client.seek(TopicPartition(*partition), opened.read_from)
            await self._set_back(openings, logs)
            lowered = await self._begin_catch_up(assigned, logs, revoked)
            if revoked.is_set():
                return
            stored = {
                each: min(at.next_offset, lowered.get(each, at.next_offset)) for each, at in openings.items()
            }
            self._processor.offsets.opened(stored)
            self._processor.offsets.replays({each: replayed_until(logs[each].metadata) for each in assigned})
            self._topic_ids = {**self._topic_ids, **{topic: logs[topic, n].topic_id for topic, n in assigned}}
            self.queues = {**self.queues, **{partition: self._new_queue() for partition in assigned}}
            self._client.resume(*assigned)
            log.info("partitions_assigned", partitions=len(self.queues))

    async def _set_back(self, openings: Openings, logs: PartitionLogs) -> None:
        """Commits where reading begins to Kafka, if it is before the group's offset: no late batch can skip it then."""
        begins = {
            TopicPartition(*each): OffsetAndMetadata(opened.read_from, logs[each].metadata)
            for each, opened in openings.items()
            if opened.is_new_topic or opened.read_from < (logs[each].committed or 0)
        }
        if begins:
            await self._client.commit(begins)

    async def _rewind(self, partition: TopicPartition, offset: int) -> None:
        if offset < (position := await self._client.position(partition)):
            topic, number = partition
            log.warning("partition_rewound", topic=topic, partition=number, offset=offset, kafka=position)
            self._client.seek(partition, offset)

    async def _begin_catch_up(
        self,
        assigned: Sequence[TopicPartition],
        logs: PartitionLogs,
        revoked: asyncio.Event,
    ) -> Mapping[Partition, int]:
        """Sets partitions back to the first event that an earlier release ignored and this one handles."""
        consumer, catch_up = self._positions.consumer, self._positions.catch_up
        found = await wait_out_outages(partial(catch_up.find, assigned), revoked, consumer)
        if not found:
            return {}
        begins = {each: max(offset, logs[each].start) for each, offset in first_offsets(found).items()}
        for each, offset in begins.items():
            await self._rewind(TopicPartition(*each), offset)
        reached = {at: await self._client.position(at) for at in (TopicPartition(*each) for each in begins)}
        await self._client.commit({each: OffsetAndMetadata(at, "") for each, at in reached.items()})
        await wait_out_outages(partial(catch_up.begin, found, begins), revoked, consumer)
        return begins

    def refused(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Remembers that Kafka has no such offsets, for the session that opens these partitions next."""
        self._positions.refused(offsets)

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        await self.release()

    async def release(self) -> None:
        """Stops all queues and stores their offsets. A rebalance and a SIGTERM may call it at the same time."""
        async with self._releasing:
            self._revoked.set()
            queues, self.queues = self.queues, {}
            self.held.clear()
            metrics.LOST.clear()
            if not queues:
                return
            finished = await asyncio.gather(*(queue.stop(STOP_SECONDS) for queue in queues.values()))
            if not all(finished):
                log.warning("batches_still_in_progress", partitions=finished.count(False))
            await self._commit(queues)
            reached = self._reached(queues)
            storing = self._positions.store(reached, self._processor.offsets.lowest)
            await asyncio.gather(self._processor.release(list(reached)), storing)

    async def watch(self) -> None:
        """Raises SessionFailed when a topic was made anew or the database was restored: offsets mean other records."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            if not (queues := self.queues):
                continue
            topics = self._topic_ids
            ids = {topic: topics[topic] for topic, _ in queues}
            offsets = {each: at for each, at in self._processor.offsets.lowest.items() if each in queues}
            try:
                reason = await self._positions.changes(ids, offsets, self._reached(queues))
            except Exception as error:
                if not is_outage(error):
                    raise
                continue
            if reason and queues is self.queues:
                raise SessionFailed(reason)

    @staticmethod
    def _reached(queues: Queues) -> dict[Partition, int | None]:
        return {each: queue.next_offset for each, queue in queues.items()}

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
