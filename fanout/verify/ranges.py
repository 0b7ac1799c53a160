"""Ranges of event ids. UUIDv7 ids begin with their time, so a range of them is a span of time.

Ids of other versions carry no time and are in ranges of their own: retention never leaves them out.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

GREATEST = 2**128 - 1


class IdRange(NamedTuple):
    """Ids from `first` to `last`, both included, that are UUIDv7 (`timed`) or are not."""

    first: int
    last: int
    timed: bool = True

    @property
    def bounds(self) -> tuple[UUID, UUID]:
        return UUID(int=self.first), UUID(int=self.last)

    def is_before(self, since: datetime | None) -> bool:
        """Returns True if all events of the range were made before `since`."""
        return since is not None and self.timed and self.last < first_id_of(since)

    def split(self, parts: int) -> list["IdRange"]:
        """Returns ranges of equal width, as many as `parts` or as there are ids."""
        width = max((self.last - self.first + 1) // parts, 1)
        firsts = [
            self.first + width * part for part in range(parts) if self.first + width * part <= self.last
        ]
        return _between(firsts, self.last, self.timed)


def first_id_of(timestamp: datetime) -> int:
    """Returns the smallest id that a UUIDv7 made at this time can have."""
    return max(int(timestamp.timestamp() * 1000), 0) << 80


def made_at_milliseconds(event_id: UUID) -> int | None:
    """Returns the time that a UUIDv7 carries (RFC 9562), None for an id of another version."""
    return event_id.int >> 80 if event_id.version == 7 else None


def all_ids(spread: Iterable[UUID], cuts: Iterable[datetime], parts: int) -> list[IdRange]:
    """Returns ranges that together hold every id. The first is that of ids without a time.

    The time between the ids in `spread` is cut into `parts`. No range has ids from before and after one of `cuts`.
    """
    times = [made for made in map(made_at_milliseconds, spread) if made is not None]
    start, end = (min(times), max(times)) if times else (0, 0)
    step = max((end - start) // parts, 1)
    firsts = {0, *(made << 80 for made in range(start, end + 1, step)), *map(first_id_of, cuts)}
    return [IdRange(0, GREATEST, timed=False), *_between(sorted(firsts), GREATEST, timed=True)]


def merged(ranges: Sequence[IdRange]) -> IdRange:
    """Returns the range from the first to the last of adjacent ranges."""
    return IdRange(ranges[0].first, ranges[-1].last, ranges[0].timed)


def _between(firsts: Sequence[int], last: int, timed: bool) -> list[IdRange]:
    lasts = [*(first - 1 for first in firsts[1:]), last]
    return [IdRange(*bounds, timed) for bounds in zip(firsts, lasts, strict=True)]
