"""How a worker is a member of its group: all that its client is told, because most of the defaults would be wrong."""

from typing import Any

from chassis.config import Settings
from chassis.consumer.retry import MAX_POLL_INTERVAL_SECONDS

METADATA_SECONDS = 10
FETCH_BYTES = 2**20
"""In one answer of the broker. A batch that is larger comes alone, whatever the limits are."""
IDLE_FETCH_MS = 2_000
"""Kafka answers sooner when there is something to read."""
GATHERED_BYTES = 64 * 1024
"""Enough to be worth an answer at once: some hundred events."""


def client_settings(group: str, settings: Settings) -> dict[str, Any]:
    return {
        **settings.broker.for_aiokafka(),
        "group_id": group,
        "client_id": settings.instance or f"{group}-worker",
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
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
