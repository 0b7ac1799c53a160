"""One membership in the consumer group: polls Kafka, fills the partition queues and commits their offsets to Kafka.

An offset is committed here only after the database transaction of its records has committed (batch.py). It shortens
what is read again after a restart; correctness comes from the offset in the database (assignment.py) and the inbox.
"""

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from re import Pattern

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError
from aiokafka.structs import OffsetAndMetadata

from chassis.consumer.assignment import Assignment, SessionFailed
from chassis.consumer.fetching import record_of
from chassis.consumer.held import UnreadableBatch, readable
from chassis.consumer.partition_queue import PartitionQueue, RecordProcessor
from chassis.consumer.positions import Positions
from chassis.consumer.replays import replay_metadata
from chassis.masking import describe
from chassis.timestamps import is_set_within

POLL_MS, SHORT_POLL_MS = 200, 20
COMMIT_EVERY_SECONDS = 1.0
"""Many transactions share one commit of offsets."""
COMMIT_SECONDS, CLOSE_SECONDS = 2.0, 3.0
FINISH_SECONDS = 20.0
EXIT_CLIENT_HANGS = 70
NO_PARTITION = TopicPartition("", 0)
"""Polling it keeps the client in its group and returns no records."""

Topics = Sequence[str] | Pattern[str]
"""A pattern includes topics that do not exist yet; they are found within kafka.METADATA_SECONDS."""

log = structlog.get_logger()


class ConsumerSession:
    """One aiokafka client from start to stop; after an exception from `getmany` it must not be used again."""

    def __init__(
        self,
        client: AIOKafkaConsumer,
        topics: Topics,
        positions: Positions,
        processor: RecordProcessor,
        batch_size: int,
    ) -> None:
        self._client = client
        self._processor = processor
        self._batch_size = batch_size
        self._has_room, self._has_progress = asyncio.Event(), asyncio.Event()
        self._regular: Sequence[asyncio.Task[None]] = ()
        self._assigned = Assignment(client, positions, processor, self._new_queue, self._commit)
        subscription = {"pattern": topics.pattern} if isinstance(topics, Pattern) else {"topics": topics}
        client.subscribe(**subscription, listener=self._assigned)

    async def start(self) -> None:
        await self._client.start()
        self._regular = [
            self._assigned.in_background(each) for each in (self._commit_regularly(), self._assigned.watch())
        ]

    async def poll(self) -> None:
        """Moves records from Kafka to the partition queues. Full queues are not polled for: that is back-pressure."""
        self._assigned.raise_background_error()
        self._assigned.share_memory(self._batch_size)
        partitions = await self._partitions_with_room()
        fetched = await self._fetch(partitions)
        for partition, records in fetched.items():
            if partition not in self._queues:
                raise SessionFailed(f"records of {partition} were read before its queue was open")
            self._queues[partition].put([record_of(each) for each in readable(records)])
        # Only now, because a rebalance may happen meanwhile.
        for partition, records in fetched.items():
            await self._assigned.held.update(partition, records)

    async def _fetch(
        self, partitions: Sequence[TopicPartition]
    ) -> Mapping[TopicPartition, list[ConsumerRecord | UnreadableBatch]]:
        """Raises SessionFailed if Kafka has no record at the next offset, after the queue of the partition is done."""
        try:
            # Awaited directly: cancelling it, or an exception out of it, switches aiokafka's poll watchdog off.
            return await self._client.getmany(  # type: ignore[no-any-return]
                *(partitions or [NO_PARTITION]),
                timeout_ms=self._poll_ms(partitions),
                max_records=max(
                    min((self._queues[each].max_records for each in partitions), default=1) // 2, 1
                ),
            )
        except OffsetOutOfRangeError as error:
            refused: Mapping[TopicPartition, int] = error.args[0]
            with suppress(TimeoutError):
                async with asyncio.timeout(FINISH_SECONDS):
                    await self._finish(refused)
            self._assigned.refused(refused)
            raise SessionFailed(f"Kafka does not have the next offset: {refused}") from error

    async def _finish(self, partitions: Iterable[TopicPartition]) -> None:
        """Returns when the records that are in the queues are in the database: Kafka may have deleted them already."""
        while any(each in self._queues and self._queues[each].is_active for each in partitions):
            self._has_room.clear()
            await self._has_room.wait()

    async def _commit_regularly(self) -> None:
        while True:
            await self._has_progress.wait()
            await asyncio.sleep(COMMIT_EVERY_SECONDS)
            self._has_progress.clear()
            await self._commit(self._queues)

    async def _commit(self, queues: Mapping[TopicPartition, PartitionQueue]) -> None:
        """Commits to Kafka the offsets up to which records are in the database. Stops waiting after COMMIT_SECONDS."""
        replayed_until = self._processor.offsets.replayed_until
        offsets = {
            partition: OffsetAndMetadata(
                queue.next_offset, replay_metadata(queue.next_offset, replayed_until(partition))
            )
            for partition, queue in queues.items()
            if queue.next_offset is not None
        }
        if offsets:
            commit = asyncio.create_task(self._client.commit(offsets))
            commit.add_done_callback(_log_refusal)
            await asyncio.wait({commit}, timeout=COMMIT_SECONDS)

    async def close(self) -> None:
        """Releases all partitions and leaves the group; ends the process if the client hangs on a dead broker."""
        await self._assigned.release()
        for task in self._regular:
            task.cancel()
        closing = asyncio.create_task(self._client.stop())
        done, _ = await asyncio.wait({closing}, timeout=CLOSE_SECONDS)
        if not done:
            log.error("kafka_client_hangs", seconds=CLOSE_SECONDS)
            os._exit(EXIT_CLIENT_HANGS)
        if (error := closing.exception()) is not None:
            log.warning("kafka_client_closed_with_error", error=describe(error))

    @property
    def longest_silence(self) -> float:
        """The seconds since the last heartbeat of the queue that has been silent for longest."""
        return max((queue.silent_seconds for queue in self._queues.values()), default=0.0)

    @property
    def held(self) -> list[str]:
        """The partitions that cannot be read on, each with the reason."""
        return self._assigned.held.described()

    @property
    def _queues(self) -> Mapping[TopicPartition, PartitionQueue]:
        return self._assigned.queues

    def _new_queue(self) -> PartitionQueue:
        self._has_room.set()
        return PartitionQueue(self._processor, self._on_progress, self._batch_size)

    def _on_progress(self) -> None:
        self._has_progress.set()
        self._has_room.set()

    async def _partitions_with_room(self) -> list[TopicPartition]:
        """Returns the partitions to poll for; waits up to POLL_MS if all queues are full."""
        may_be_read = self._assigned.held.may_be_read
        partitions = [each for each, queue in self._queues.items() if queue.has_room and may_be_read(each)]
        if not partitions:
            self._has_room.clear()
            await is_set_within(POLL_MS / 1000, self._has_room)
        return partitions

    def _poll_ms(self, partitions: Sequence[TopicPartition]) -> int:
        """Returns a short time while a queue is full: it may have room again before the others get records."""
        if not partitions:
            return 0
        return POLL_MS if len(partitions) == len(self._queues) else SHORT_POLL_MS


def _log_refusal(commit: asyncio.Task[None]) -> None:
    """A refused commit is normal after a rebalance: the next owner reads the records again, the inbox ignores them."""
    if not commit.cancelled() and (error := commit.exception()) is not None:
        log.info("offsets_not_committed", error=describe(error))
