"""What a relay reports of itself: whether it is alive and ready, and how many rows its outbox still has to send."""

from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

import asyncpg

from chassis.telemetry import metrics

NOT_READY_SECONDS = 15.0
STUCK_SECONDS = 60.0
COUNTED = 10_000


@dataclass(frozen=True, slots=True)
class Backlog:
    """The number of rows to send (counted up to `COUNTED`), the age of the oldest, and the rows set aside."""

    unsent: int = 0
    oldest_unsent_seconds: float = 0.0
    set_aside: int = 0


class RelayHealth:
    """The state of a relay for health checks and metrics, from the outcome of its last attempts."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._last_attempt = self._last_success = monotonic()
        self._backlog = Backlog()
        self.is_active = False
        self.failure = ""

    @property
    def is_alive(self) -> bool:
        """False if no attempt has ended for `STUCK_SECONDS`, neither well nor with a failure."""
        return monotonic() - self._last_attempt < STUCK_SECONDS

    @property
    def is_ready(self) -> bool:
        """True if the relay sends what there is, or is on standby and can take over."""
        return monotonic() - self._last_success < NOT_READY_SECONDS

    @property
    def status(self) -> Mapping[str, Any]:
        """Returns what `/health/ready` shows of the relay."""
        status = {
            "active": self.is_active,
            "unsent": self._backlog.unsent,
            "set_aside": self._backlog.set_aside,
        }
        return status | ({"failure": self.failure} if self.failure else {})

    def succeeded(self) -> None:
        self._last_attempt = self._last_success = monotonic()
        self.failure = ""

    def failed(self, error: Exception) -> None:
        self._last_attempt = monotonic()
        self.failure = f"{type(error).__name__}: {error}"[:300]

    def set_active(self, is_active: bool) -> None:
        self.is_active = is_active
        metrics.RELAY_ACTIVE.labels(self._service).set(is_active)
        if not is_active:
            self._show(Backlog())

    def measured(self, backlog: Backlog) -> None:
        self._backlog = backlog
        self._show(backlog)

    def _show(self, backlog: Backlog) -> None:
        metrics.UNSENT.labels(self._service).set(backlog.unsent)
        metrics.OLDEST_UNSENT.labels(self._service).set(backlog.oldest_unsent_seconds)
        metrics.SET_ASIDE.labels(self._service).set(backlog.set_aside)


async def measure(connection: asyncpg.Connection) -> Backlog:
    row = await connection.fetchrow(MEASURE)
    return Backlog(row["unsent"], max(row["oldest_unsent_seconds"] or 0.0, 0.0), row["set_aside"])


MEASURE = f"""
    SELECT
        (SELECT count(*) FROM (
            SELECT FROM outbox WHERE published_at IS NULL AND set_aside_at IS NULL LIMIT {COUNTED}
        ) AS waiting) AS unsent,
        (SELECT extract(epoch FROM clock_timestamp() - created_at)::float FROM outbox
            WHERE published_at IS NULL AND set_aside_at IS NULL ORDER BY id LIMIT 1) AS oldest_unsent_seconds,
        (SELECT count(*) FROM (
            SELECT FROM outbox WHERE set_aside_at IS NOT NULL AND discarded_at IS NULL LIMIT {COUNTED}
        ) AS refused) AS set_aside
"""
