"""Commits to Kafka how far the lanes are. Offsets only spare a successor some repeats."""

import asyncio
from collections.abc import Callable, Mapping

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from chassis.consumer.partition_queue import Lane

COMMIT_SECONDS = 2.0
COMMIT_EVERY_SECONDS = 1.0
"""Many transactions share one commit of offsets."""

Lanes = Mapping[TopicPartition, Lane]

log = structlog.get_logger()


class Commits:
    def __init__(self, client: AIOKafkaConsumer) -> None:
        self._client = client
        self._moved = asyncio.Event()

    def lane_moved(self) -> None:
        self._moved.set()

    async def run(self, lanes: Callable[[], Lanes]) -> None:
        while True:
            await self._moved.wait()
            await asyncio.sleep(COMMIT_EVERY_SECONDS)
            self._moved.clear()
            await self.commit(lanes())

    async def commit(self, lanes: Lanes) -> None:
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
