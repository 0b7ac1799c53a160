"""Time as events tell it: UTC, whole milliseconds."""

import time
from datetime import UTC, datetime


def now() -> datetime:
    return datetime.fromtimestamp(time.time_ns() // 1_000_000 / 1000, UTC)


def milliseconds(at: datetime) -> int:
    """Since 1970, for `occurred_at`; `Event.time` is the way back."""
    return round(at.timestamp() * 1000)
