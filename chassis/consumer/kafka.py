"""Runs a service's Kafka consumer until the worker stops. After an error a new client and session replace the old."""

import asyncio
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from chassis.config import Settings
from chassis.consumer import fetching
from chassis.consumer.assignment import SessionFailed
from chassis.consumer.partition_queue import RecordProcessor
from chassis.consumer.positions import Positions
from chassis.consumer.retry import MAX_POLL_INTERVAL_SECONDS
from chassis.consumer.session import ConsumerSession, Topics
from chassis.liveness import running_seconds
from chassis.masking import describe

POLL_OVERDUE_SECONDS = 60.0
QUEUE_SILENT_SECONDS = 120.0
"""Longer than any statement may take; a queue that waits for an outage shows a heartbeat at each try."""
REBUILD_SECONDS = 1.0

METADATA_SECONDS = 10
FETCH_BYTES = 2**20
"""Limit of one answer of the broker; a larger batch comes alone, whatever the limits are."""
IDLE_FETCH_MS = 2_000
"""Kafka answers sooner when there is something to read."""
GATHERED_BYTES = 64 * 1024
"""With `gather_ms`, this many bytes (some hundred events) are answered at once."""

log = structlog.get_logger()

fetching.install()


class Consumer:
    """A member of the service's consumer group. Kafka delivers at least once; the inbox drops what was applied."""

    def __init__(
        self, positions: Positions, topics: Topics, processor: RecordProcessor, settings: Settings
    ) -> None:
        self._positions = positions
        self._topics = topics
        self._processor = processor
        self._settings = settings
        self._last_poll = running_seconds()
        self._polls = False
        self._session: ConsumerSession | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Polls until `stop` is set. After an error of the client a new session takes over."""
        if not self._topics:
            await stop.wait()
        stopping = asyncio.create_task(stop.wait())
        while not stop.is_set():
            client = AIOKafkaConsumer(**client_settings(self._positions.consumer, self._settings))
            session = self._session = ConsumerSession(
                client, self._topics, self._positions, self._processor, self._settings.batch_size
            )
            try:
                await session.start()
                while await _polled(session, stopping):
                    self._last_poll, self._polls = running_seconds(), True
            except (KafkaError, OSError, SessionFailed) as error:
                self._last_poll, self._polls = running_seconds(), False
                log.warning("consumer_rebuilt", error=describe(error))
                await asyncio.wait({stopping}, timeout=REBUILD_SECONDS)
            finally:
                await session.close()
        stopping.cancel()

    @property
    def is_alive(self) -> bool:
        """False if no poll has returned for POLL_OVERDUE_SECONDS or a partition queue makes no progress."""
        if not self._topics:
            return True
        silent = self._session.longest_silence if self._session else 0.0
        return running_seconds() - self._last_poll < POLL_OVERDUE_SECONDS and silent < QUEUE_SILENT_SECONDS

    @property
    def is_ready(self) -> bool:
        """True if the consumer is alive and Kafka has answered its last poll."""
        return self.is_alive and (self._polls or not self._topics)

    @property
    def held(self) -> list[str]:
        """The partitions that cannot be read on, each with the reason."""
        return self._session.held if self._session else []


async def _polled(session: ConsumerSession, stopping: asyncio.Task[bool]) -> bool:
    """Polls once; returns False as soon as the worker stops, because a poll can last as long as a rebalance."""
    polling = asyncio.create_task(session.poll())
    await asyncio.wait({polling, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if stopping.done():
        polling.cancel()  # this breaks the client's poll watchdog, but the client is closed next
        return False
    polling.result()
    return True


def client_settings(group: str, settings: Settings) -> dict[str, Any]:
    """Returns the settings of AIOKafkaConsumer; most of its defaults would be wrong here."""
    return {
        **settings.broker.for_aiokafka(),
        "group_id": group,
        "client_id": settings.instance or f"{group}-worker",
        "enable_auto_commit": False,
        "auto_offset_reset": "none",  # each partition is opened at an offset of ours (opening.py)
        "isolation_level": "read_committed",
        "session_timeout_ms": settings.session_timeout_ms,
        "heartbeat_interval_ms": settings.session_timeout_ms // 3,
        "rebalance_timeout_ms": settings.session_timeout_ms + 4_000,
        "max_poll_interval_ms": MAX_POLL_INTERVAL_SECONDS * 1000,
        "request_timeout_ms": 10_000,
        "retry_backoff_ms": 300,
        "metadata_max_age_ms": METADATA_SECONDS * 1000,
        "fetch_max_wait_ms": settings.gather_ms or IDLE_FETCH_MS,
        "fetch_min_bytes": GATHERED_BYTES if settings.gather_ms else 1,
        "fetch_max_bytes": FETCH_BYTES,
        "max_partition_fetch_bytes": FETCH_BYTES // 4,
    }
