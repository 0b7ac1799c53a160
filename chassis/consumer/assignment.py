"""Takes over and releases partitions: at a rebalance, and at the end of a session."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import IllegalStateError

from chassis.consumer.held import HeldPartitions
from chassis.consumer.partition_queue import PartitionQueue, RecordProcessor
from chassis.consumer.positions import Positions
from chassis.consumer.retry import Stopped, wait_out_outages

STOP_SECONDS = 3.0

log = structlog.get_logger()

Queues = Mapping[TopicPartition, PartitionQueue]


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
        self.error: BaseException | None = None
        """The unexpected error that kept assigned partitions from being opened."""
        self._client = client
        self._positions = positions
        self._processor = processor
        self._new_queue = new_queue
        self._commit = commit
        self._revoked = asyncio.Event()
        self._releasing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Opens the queues in the background: the client must stay in its group while the database is down."""
        self._revoked = asyncio.Event()
        opening = asyncio.create_task(self._open(list(assigned), self._revoked))
        self._tasks.add(opening)
        opening.add_done_callback(self._opened)

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

    async def _open(self, assigned: Sequence[TopicPartition], revoked: asyncio.Event) -> None:
        """Opens a queue for each partition, at the lower one of Kafka's and the database's offset."""
        load = partial(self._positions.load, assigned)
        with suppress(Stopped, IllegalStateError):  # revoked meanwhile
            offsets = await wait_out_outages(load, revoked, self._positions.consumer)
            for partition, offset in offsets.items():
                await self._rewind(TopicPartition(*partition), offset)
            if revoked.is_set():
                return
            self.queues = {**self.queues, **{partition: self._new_queue() for partition in assigned}}
            log.info("partitions_assigned", partitions=len(self.queues))

    async def _rewind(self, partition: TopicPartition, offset: int) -> None:
        if offset < (position := await self._client.position(partition)):
            topic, number = partition
            log.warning("partition_rewound", topic=topic, partition=number, offset=offset, kafka=position)
            self._client.seek(partition, offset)

    def _opened(self, opening: asyncio.Task[None]) -> None:
        self._tasks.discard(opening)
        if not opening.cancelled() and (error := opening.exception()):
            self.error = error
