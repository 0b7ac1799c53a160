"""Time: now in UTC and whole milliseconds, the type of a timestamp in a request, and waiting with a limit."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Annotated

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError


def now() -> datetime:
    """Returns the current time in UTC, rounded down to a whole millisecond."""
    return datetime.fromtimestamp(time.time_ns() // 1_000_000 / 1000, UTC)


def milliseconds(at: datetime) -> int:
    """Returns the milliseconds since 1970, for `occurred_at`; `Event.time` converts them back."""
    return round(at.timestamp() * 1000)


def parse_timestamp(value: object) -> datetime:
    """Parses ISO 8601 with a time zone, and converts it to UTC. Raises PydanticCustomError for anything else."""
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError as error:
        message = "not an ISO 8601 time, such as 2026-03-01T12:00:00Z"
        raise PydanticCustomError("timestamp", message) from error
    if at.tzinfo is None:
        raise PydanticCustomError("timestamp", "a time needs its zone, such as the Z of 2026-03-01T12:00:00Z")
    if not 1970 < at.year < 9999:
        raise PydanticCustomError("timestamp", "year must be between 1971 and 9998")
    return at.astimezone(UTC)


Timestamp = Annotated[datetime, BeforeValidator(parse_timestamp)]


async def is_set_within(seconds: float, event: asyncio.Event) -> bool:
    """Waits until the event is set, and returns True, or until that time has passed, and returns False."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
