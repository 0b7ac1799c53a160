"""Old rows get deleted (`purges`): what was published before that is left out of the books on all sides.

An event's id says when it was made (UUIDv7, RFC 9562); an id of another version is of no time, and stays in.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from uuid import UUID

Hides = Callable[[UUID], bool]


def latest(moments: Iterable[datetime | None]) -> datetime | None:
    return max((moment for moment in moments if moment), default=None)


def hides(since: datetime | None) -> Hides:
    """Whether an event is older than what is known completely."""
    if since is None:
        return lambda event_id: False
    first = int(since.timestamp() * 1000)
    return lambda event_id: event_id.int >> 80 < first and event_id.version == 7
