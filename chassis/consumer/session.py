"""One membership in the service's group, from its start to its end: records to lanes, and offsets back."""

import asyncio
import os
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from re import Pattern
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError

from chassis.config import Settings
from chassis.consumer import fetching
from chassis.consumer.commits import Commits
from chassis.consumer.fetching import UnreadableBatch
from chassis.consumer.held import HeldPartitions
from chassis.consumer.membership import client_settings
from chassis.consumer.outages import Stopped, through_outages
from chassis.consumer.partition_queue import Lane, Works
from chassis.consumer.positions import Partition, Positions

POLL_MS, BRIEF_POLL_MS = 200, 20
QUEUED_RECORDS, QUEUED_BYTES = 2_000, 8 * 2**20
"""In the queues of all lanes together; as much again may be in hand."""
SMALLEST_QUEUE = 25
CLOSE_SECONDS = 3.0
LANE_STOP_SECONDS = 3.0
EXIT_CLIENT_HANGS = 70
NOTHING = TopicPartition("", 0)
"""Asking for it keeps the client in its group and brings no record."""

Topics = Sequence[str] | Pattern[str]
"""A pattern also means topics that are still to come; they are found within membership.METADATA_SECONDS."""

log = structlog.get_logger()

fetching.install()


class LaneEnded(Exception):
    """A lane met an error it has no answer to; a new session reads its records again."""


class ConsumerSession(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is untyped
    """One aiokafka consumer from start to stop: after an exception out of `getmany` it must not be used again."""

    def __init__(self, positions: Positions, topics: Topics, processor: Works, settings: Settings) -> None:
        self._positions = positions
        self._processor = processor
        self._batch_size = settings.batch_size
        self._lanes: dict[TopicPartition, Lane] = {}
        self._held = HeldPartitions(positions)
        self._room = asyncio.Event()
        self._retiring = asyncio.Lock()
        self._revoked = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._committing: asyncio.Task[None] | None = None
        self._error: BaseException | None = None
        self._client = AIOKafkaConsumer(**client_settings(positions.consumer, settings))
        self._commits = Commits(self._client)
        if isinstance(topics, Pattern):
            self._client.subscribe(pattern=topics.pattern, listener=self)
        else:
            self._client.subscribe(topics, listener=self)

    @property
    def longest_silence(self) -> float:
        return max((lane.silent_seconds for lane in self._lanes.values()), default=0.0)

    @property
    def held(self) -> list[str]:
        """The partitions that cannot be read on, each with the reason."""
        return self._held.described()

    async def start(self) -> None:
        await self._client.start()
        self._committing = self._in_background(self._commits.run(lambda: self._lanes))

    async def poll(self) -> None:
        """Fills lanes that have room. A lane without room is not asked for, which is all the back-pressure there is."""
        for error in filter(None, [self._error, *(lane.error for lane in self._lanes.values())]):
            raise LaneEnded(repr(error)) from error
        self._share_out()
        room = [
            place
            for place, lane in self._lanes.items()
            if lane.has_room and self._held.may_be_read(_name(place))
        ]
        if not room:
            self._room.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._room.wait(), POLL_MS / 1000)
        # Awaited directly: an exception out of it switches aiokafka's poll watchdog off.
        batches: Mapping[TopicPartition, list[ConsumerRecord | UnreadableBatch]] = await self._client.getmany(
            *(room or [NOTHING]),
            timeout_ms=self._patience_ms(len(room)),
            max_records=max(min((self._lanes[place].queue_records for place in room), default=1) // 2, 1),
        )
        for place, records in batches.items():
            if lane := self._lanes.get(place):
                if isinstance(last := records[-1], UnreadableBatch):
                    await self._held.hold(_name(place), last.offset, last.error)
                    records.pop()
                else:
                    await self._held.release(_name(place))
                lane.offer([fetching.record_of(record) for record in records])

    async def close(self) -> None:
        """Leaves the group. aiokafka may hang here on a dead broker: then the process ends and is started again."""
        await self._retire()
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
        await self._retire()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Not awaited: while the database is away the client must stay in its group."""
        self._revoked = asyncio.Event()
        self._in_background(self._take(list(assigned), self._revoked))

    async def _take(self, assigned: Sequence[TopicPartition], revoked: asyncio.Event) -> None:
        """Opens a lane for each partition, from where the database says that it stands."""
        take = partial(self._positions.take, [_name(place) for place in assigned])
        with suppress(Stopped, IllegalStateError):  # they belong to somebody else by now
            starts = await through_outages(take, revoked, self._positions.consumer)
            for place in assigned:
                start = starts.get(_name(place))
                if start is not None and start < (position := await self._client.position(place)):
                    log.warning("reading_again", partition=_name(place), offset=start, kafka=position)
                    self._client.seek(place, start)
            if revoked.is_set():
                return
            for place in assigned:
                self._lanes[place] = Lane(self._processor, self._lane_moved, self._batch_size)
            self._room.set()
            log.info("partitions_assigned", partitions=len(self._lanes))

    async def _retire(self) -> None:
        """Gives all partitions up, once: a rebalance and a SIGTERM can both ask for it at the same time."""
        async with self._retiring:
            self._revoked.set()
            lanes, self._lanes = self._lanes, {}
            self._held.clear()
            if not lanes:
                return
            finished = await asyncio.gather(*(lane.stop(LANE_STOP_SECONDS) for lane in lanes.values()))
            if not all(finished):
                log.warning("lanes_still_busy", lanes=finished.count(False))
            await self._commits.commit(lanes)
            reached = {_name(place): lane.next_offset for place, lane in lanes.items()}
            await asyncio.gather(self._processor.leave(list(reached)), self._positions.leave(reached))

    def _share_out(self) -> None:
        """Gives each lane an equal part of the memory that all which have something to do may take."""
        active = max(sum(lane.is_active for lane in self._lanes.values()), 1)
        records = min(self._batch_size, max(SMALLEST_QUEUE, QUEUED_RECORDS // active))
        for lane in self._lanes.values():
            lane.queue_records, lane.queue_bytes = records, QUEUED_BYTES // active

    def _patience_ms(self, rooms: int) -> int:
        """A lane that is full now must not wait for the others' records when it has room again."""
        if not rooms:
            return 0
        return POLL_MS if rooms == len(self._lanes) else BRIEF_POLL_MS

    def _lane_moved(self, _: Lane) -> None:
        self._commits.lane_moved()
        self._room.set()

    def _in_background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._error = error


def _name(place: TopicPartition) -> Partition:
    return place.topic, place.partition
