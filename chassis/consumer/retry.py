"""Decides how often a failed message is retried in place, and waits while a dependency is down.

Retries use exponential backoff with full jitter (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog,
2015) and end long before Kafka would take the partition away. An outage never counts as an attempt and never parks
a message: the work is repeated until the dependency answers, however long that takes.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

import structlog

from chassis import liveness
from chassis.errors import FailureClass, classify
from chassis.liveness import running_seconds
from chassis.masking import describe
from chassis.telemetry import metrics
from chassis.timestamps import is_set_within

MAX_POLL_INTERVAL_SECONDS = 300
MAX_ATTEMPTS = 5
MAX_RETRY_SECONDS = MAX_POLL_INTERVAL_SECONDS / 3
BACKOFF_SECONDS = 0.1
"""Upper bound of the wait before the first retry; it doubles with each attempt."""

FIRST_OUTAGE_WAIT_SECONDS = 0.1
LONGEST_OUTAGE_WAIT_SECONDS = 1.0

T = TypeVar("T")

log = structlog.get_logger()


class Stopped(Exception):
    """The worker was told to stop while this work waited; nothing was decided about its records."""


class RetryBudget:
    """Retry budget of one message; time spent in outages does not count."""

    def __init__(self) -> None:
        self.attempts = 0
        self.first_attempt_at = datetime.now(UTC)
        self._seconds = 0.0

    async def attempt(self, work: Awaitable[None]) -> None:
        """Awaits the work and counts it as an attempt if it fails for another reason than an outage."""
        began = running_seconds()
        try:
            await work
        except Exception as error:
            if not is_outage(error):
                self.attempts += 1
                self._seconds += running_seconds() - began
            raise

    def is_exhausted(self, error: Exception) -> bool:
        """Returns True if the message must be parked after this error."""
        used_up = self.attempts >= MAX_ATTEMPTS or self._seconds > MAX_RETRY_SECONDS
        return used_up or classify(error) is FailureClass.PERMANENT

    @property
    def backoff_seconds(self) -> float:
        return random.uniform(0, BACKOFF_SECONDS * 2**self.attempts)


def is_outage(error: Exception) -> bool:
    return classify(error) is FailureClass.INFRASTRUCTURE


async def wait_out_outages(
    work: Callable[[], Awaitable[T]],
    stop: asyncio.Event,
    consumer: str,
    waits_for: Callable[[Exception], bool] = is_outage,
) -> T:
    """Repeats the work until it succeeds or fails with an error that `waits_for` does not accept.

    Raises Stopped when told to stop while waiting. Waits vary by half, so that two transactions that deadlock with
    each other are not retried at the same time.
    """
    seconds = FIRST_OUTAGE_WAIT_SECONDS
    while True:
        liveness.beat()
        try:
            return await work()
        except Exception as error:
            if not waits_for(error):
                raise
            log.warning("waiting_for_dependency", error=describe(error), next_try_seconds=round(seconds, 1))
        with metrics.HOLDING.labels(consumer).track_inprogress():
            await pause(random.uniform(seconds / 2, seconds), stop)
        seconds = min(seconds * 2, LONGEST_OUTAGE_WAIT_SECONDS)


async def pause(seconds: float, stop: asyncio.Event) -> None:
    """Sleeps. Raises Stopped when told to stop meanwhile."""
    if await is_set_within(seconds, stop):
        raise Stopped
