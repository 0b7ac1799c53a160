"""Kafka to lanes, and offsets back, moved only after the database commit. The only file that knows aiokafka."""

import asyncio
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from re import Pattern

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from chassis.config import Settings
from chassis.lane import Lane, Works
from chassis.membership import client_settings
from chassis.pulse import running_seconds
from chassis.record import Record

POLL_MS = 200
POLL_OVERDUE_SECONDS = 60.0
LANE_SILENT_SECONDS = 120.0
"""Longer than any statement may take, and a lane waits for an outage in tries."""
REBUILD_SECONDS = 1.0
CLOSE_SECONDS = 3.0
LANE_STOP_SECONDS = 3.0
COMMIT_SECONDS = 2.0
COMMIT_EVERY_SECONDS = 0.25
"""Offsets only spare a successor some repeats, so many transactions share one commit of them."""
EXIT_CLIENT_HANGS = 70

log = structlog.get_logger()


Topics = Sequence[str] | Pattern[str]
"""A pattern also means topics that are still to come; they are found within membership.METADATA_SECONDS."""


class LaneEnded(Exception):
    """A lane met an error it has no answer to; a new membership reads its records again."""


class Consumer:
    """A member of the service's group. At least once from Kafka; the inbox makes it once in Postgres."""

    def __init__(self, group: str, topics: Topics, processor: Works, settings: Settings) -> None:
        self._group = group
        self._topics = topics
        self._processor = processor
        self._settings = settings
        self._last_turn = running_seconds()
        self._polls = False
        self._membership: Membership | None = None

    @property
    def is_alive(self) -> bool:
        """False when no poll has come back for a minute, or a lane makes no progress: something in here is stuck."""
        if not self._topics:
            return True
        silent = self._membership.longest_silence if self._membership else 0.0
        return running_seconds() - self._last_turn < POLL_OVERDUE_SECONDS and silent < LANE_SILENT_SECONDS

    @property
    def is_ready(self) -> bool:
        """It lives, and is in its group: Kafka has answered its last poll."""
        return self.is_alive and (self._polls or not self._topics)

    async def run(self, stop: asyncio.Event) -> None:
        if not self._topics:
            await stop.wait()
        while not stop.is_set():
            membership = Membership(self._group, self._topics, self._processor, self._settings)
            self._membership = membership
            try:
                await membership.start()
                while not stop.is_set():
                    await membership.poll()
                    self._last_turn, self._polls = running_seconds(), True
            except (KafkaError, OSError, LaneEnded) as error:
                self._last_turn, self._polls = running_seconds(), False
                log.warning("consumer_rebuilt", error=f"{type(error).__name__}: {error}"[:300])
                await asyncio.sleep(REBUILD_SECONDS)
            finally:
                await membership.close()


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is untyped
    """One aiokafka consumer from start to stop: after an exception out of `getmany` it must not be used again."""

    def __init__(self, group: str, topics: Topics, processor: Works, settings: Settings) -> None:
        self._processor = processor
        self._batch_size = settings.batch_size
        self._lanes: dict[TopicPartition, Lane] = {}
        self._moved = asyncio.Event()
        self._room = asyncio.Event()
        self._committing: asyncio.Task[None] | None = None
        self._client = AIOKafkaConsumer(**client_settings(group, settings))
        if isinstance(topics, Pattern):
            self._client.subscribe(pattern=topics.pattern, listener=self)
        else:
            self._client.subscribe(topics, listener=self)

    @property
    def longest_silence(self) -> float:
        return max((lane.silent_seconds for lane in self._lanes.values()), default=0.0)

    async def start(self) -> None:
        await self._client.start()
        self._committing = asyncio.create_task(self._commit_as_lanes_move())

    async def poll(self) -> None:
        """Fills lanes that have room. A lane without room is not asked for, which is all the back-pressure there is."""
        for error in filter(None, (lane.error for lane in self._lanes.values())):
            raise LaneEnded from error
        room = [partition for partition, lane in self._lanes.items() if lane.has_room]
        if self._lanes and not room:
            self._room.clear()
            await _wait(self._room, POLL_MS / 1000)
            return
        # Awaited directly: cancelling it, or an exception out of it, switches aiokafka's poll watchdog off.
        batches = await self._client.getmany(*room, timeout_ms=POLL_MS)
        for partition, records in batches.items():
            if lane := self._lanes.get(partition):
                lane.offer([_record(record) for record in records])

    async def close(self) -> None:
        """Leaves the group. aiokafka may hang here on a dead broker: then the process ends and is started again."""
        await self._retire(list(self._lanes))
        if self._committing is not None:
            self._committing.cancel()
        closing = asyncio.create_task(self._client.stop())
        done, _ = await asyncio.wait({closing}, timeout=CLOSE_SECONDS)
        if not done:
            log.error("client_hangs", seconds=CLOSE_SECONDS)
            os._exit(EXIT_CLIENT_HANGS)
        if closing.exception() is not None:
            log.warning("client_closed_with_error", error=str(closing.exception()))

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        await self._retire(list(revoked))

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        for partition in assigned:
            self._lanes[partition] = Lane(self._processor, self._lane_moved, self._batch_size)
        log.info("partitions_assigned", partitions=len(self._lanes))

    async def _retire(self, partitions: list[TopicPartition]) -> None:
        lanes = {partition: self._lanes[partition] for partition in partitions if partition in self._lanes}
        if not lanes:
            return
        finished = await asyncio.gather(*(lane.stop(LANE_STOP_SECONDS) for lane in lanes.values()))
        if not all(finished):
            log.warning("lanes_still_busy", lanes=finished.count(False))
        await self._commit(lanes)
        await self._processor.leave([(partition.topic, partition.partition) for partition in lanes])
        for partition in lanes:
            del self._lanes[partition]

    def _lane_moved(self, _: Lane) -> None:
        self._moved.set()
        self._room.set()

    async def _commit_as_lanes_move(self) -> None:
        while True:
            await self._moved.wait()
            await asyncio.sleep(COMMIT_EVERY_SECONDS)
            self._moved.clear()
            await self._commit(self._lanes)

    async def _commit(self, lanes: dict[TopicPartition, Lane]) -> None:
        offsets = {
            partition: OffsetAndMetadata(lane.next_offset, "")
            for partition, lane in lanes.items()
            if lane.next_offset is not None
        }
        if not offsets:
            return
        commit = asyncio.create_task(self._client.commit(offsets))
        commit.add_done_callback(_note_refusal)
        await asyncio.wait({commit}, timeout=COMMIT_SECONDS)


def _note_refusal(commit: asyncio.Task[None]) -> None:
    """A refused commit is normal after a rebalance: the records come again and the inbox ignores them."""
    if not commit.cancelled() and (error := commit.exception()) is not None:
        log.info("offsets_not_committed", error=f"{type(error).__name__}: {error}"[:200])


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


def _record(got: ConsumerRecord) -> Record:
    return Record(got.topic, got.partition, got.offset, got.timestamp, got.key, got.value, got.headers)
