"""How often and how long one message is tried again in place: full jitter, and never into the next rebalance.

Back-off with full jitter: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

import random
from collections.abc import Awaitable
from datetime import UTC, datetime

from chassis.consumer.outages import is_outage
from chassis.errors import FailureClass, classify
from chassis.liveness import running_seconds

MAX_POLL_INTERVAL_SECONDS = 300
TRIES = 5
TRY_FOR_SECONDS = MAX_POLL_INTERVAL_SECONDS / 3
RETRY_SECONDS = 0.1


class Tries:
    """Those of one message. What an outage takes is no try and takes no time."""

    def __init__(self) -> None:
        self.count = 0
        self.since = datetime.now(UTC)
        self._seconds = 0.0

    async def make(self, work: Awaitable[None]) -> None:
        began = running_seconds()
        try:
            await work
        except Exception as error:
            if not is_outage(error):
                self.count += 1
                self._seconds += running_seconds() - began
            raise

    def are_over(self, error: Exception) -> bool:
        used_up = self.count >= TRIES or self._seconds > TRY_FOR_SECONDS
        return used_up or classify(error) is FailureClass.PERMANENT

    @property
    def pause_seconds(self) -> float:
        return random.uniform(0, RETRY_SECONDS * 2**self.count)
