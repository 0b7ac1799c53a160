"""Keeps a worker in its group: one session after the other, until it is told to stop."""

import asyncio

import structlog
from aiokafka.errors import KafkaError

from chassis.config import Settings
from chassis.consumer.partition_queue import Works
from chassis.consumer.positions import Positions
from chassis.consumer.session import ConsumerSession, LaneEnded, Topics
from chassis.liveness import running_seconds

POLL_OVERDUE_SECONDS = 60.0
LANE_SILENT_SECONDS = 120.0
"""Longer than any statement may take, and a lane waits for an outage in tries."""
REBUILD_SECONDS = 1.0

log = structlog.get_logger()


class Consumer:
    """A member of the service's group. At least once from Kafka; the inbox makes it once in Postgres."""

    def __init__(self, positions: Positions, topics: Topics, processor: Works, settings: Settings) -> None:
        self._positions = positions
        self._topics = topics
        self._processor = processor
        self._settings = settings
        self._last_turn = running_seconds()
        self._polls = False
        self._session: ConsumerSession | None = None

    @property
    def is_alive(self) -> bool:
        """False when no poll has come back for a minute, or a lane makes no progress: something in here is stuck."""
        if not self._topics:
            return True
        silent = self._session.longest_silence if self._session else 0.0
        return running_seconds() - self._last_turn < POLL_OVERDUE_SECONDS and silent < LANE_SILENT_SECONDS

    @property
    def is_ready(self) -> bool:
        """It lives, and is in its group: Kafka has answered its last poll."""
        return self.is_alive and (self._polls or not self._topics)

    @property
    def held(self) -> list[str]:
        """The partitions that cannot be read on, each with the reason."""
        return self._session.held if self._session else []

    async def run(self, stop: asyncio.Event) -> None:
        if not self._topics:
            await stop.wait()
        stopping = asyncio.create_task(stop.wait())
        while not stop.is_set():
            session = self._session = ConsumerSession(
                self._positions, self._topics, self._processor, self._settings
            )
            try:
                await session.start()
                while await _polled(session, stopping):
                    self._last_turn, self._polls = running_seconds(), True
            except (KafkaError, OSError, LaneEnded) as error:
                self._last_turn, self._polls = running_seconds(), False
                log.warning("consumer_rebuilt", error=f"{type(error).__name__}: {error}"[:300])
                await asyncio.wait({stopping}, timeout=REBUILD_SECONDS)
            finally:
                await session.close()
        stopping.cancel()


async def _polled(session: ConsumerSession, stopping: asyncio.Task[bool]) -> bool:
    """Polls once, unless it is time to stop. A poll in the middle of a rebalance takes as long as that."""
    polling = asyncio.create_task(session.poll())
    await asyncio.wait({polling, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if stopping.done():
        polling.cancel()  # the client is closed next, so it does not matter that it loses its poll watchdog
        return False
    polling.result()
    return True
