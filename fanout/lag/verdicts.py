"""Judges groups: a verdict in words, the trend of what is unread, and when it will be read.

| verdict        | when, the first that holds                                                                    |
|----------------|-----------------------------------------------------------------------------------------------|
| losing_data    | Kafka has deleted what the group did not read, or may delete it now                           |
| replaying      | a replay runs, or its offsets were set back: it reads again what it has processed             |
| stopped        | no member is in the group                                                                     |
| stuck          | a partition is held, or has stood still for `STUCK_SECONDS` with something unread in it       |
| keeping_up     | nothing unread is older than `KEEPING_UP_SECONDS`                                             |
| catching_up    | what is unread becomes less                                                                   |
| falling_behind | all else                                                                                      |
"""

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from fanout.kafka_admin import Partition
from fanout.lag.partitions import PartitionLag

Verdict = Literal[
    "keeping_up", "catching_up", "falling_behind", "stopped", "stuck", "replaying", "losing_data"
]
VERDICTS: Sequence[Verdict] = get_args(Verdict)

KEEPING_UP_SECONDS = 5.0
STUCK_SECONDS = 30.0
"""Longer than a batch takes, even of a slow handler."""
TREND_SECONDS = 60.0
"""The trend is that of the last minute."""
SHORTEST_TREND_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class GroupLag:
    """How far a group is behind in all its partitions. `trend` is in messages a second, below 0 when it catches up."""

    group: str
    partitions: Sequence[PartitionLag]
    members: int
    verdict: Verdict
    trend: float | None = None
    """None as long as the group was measured only once."""
    trends: Mapping[str, float | None] = field(default_factory=dict)
    """By topic."""
    outside: bool = False
    """The group belongs to no service."""

    @property
    def messages(self) -> int:
        return sum(each.messages for each in self.partitions)

    @property
    def seconds(self) -> float | None:
        return oldest(self.partitions)

    @property
    def margin_seconds(self) -> float | None:
        return smallest_margin(self.partitions)

    @property
    def drain_seconds(self) -> float | None:
        return drain_seconds(self.messages, self.trend)


@dataclass(frozen=True, slots=True)
class Sample:
    """`messages` are those of one topic or of all, `offsets` where something was unread."""

    at: float
    messages: Mapping[str, int]
    offsets: Mapping[Partition, int]

    @property
    def total(self) -> int:
        return sum(self.messages.values())


class History:
    """The measurements of one group in the last minute."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque()

    def add(self, at: float, partitions: Iterable[PartitionLag]) -> None:
        """`at` is in seconds of a clock that is never set."""
        messages: dict[str, int] = {}
        offsets = {}
        for each in partitions:
            messages[each.topic] = messages.get(each.topic, 0) + each.messages
            if each.messages:
                offsets[each.place] = each.offset
        self._samples.append(Sample(at, messages, offsets))
        while self._samples[0].at < at - TREND_SECONDS:
            self._samples.popleft()

    def trend(self, topic: str | None = None) -> float | None:
        """Returns by how many messages a second the lag grows, in a topic or in all."""
        first, last = self._samples[0], self._samples[-1]
        if last.at - first.at < SHORTEST_TREND_SECONDS:
            return None
        before, now = (each.total if topic is None else each.messages.get(topic, 0) for each in (first, last))
        return (now - before) / (last.at - first.at)

    def standing(self) -> set[Partition]:
        """Returns the partitions with something unread that have not moved for `STUCK_SECONDS`."""
        last = self._samples[-1]
        before = [each for each in self._samples if each.at <= last.at - STUCK_SECONDS]
        if not before:
            return set()
        since = [each for each in self._samples if each.at >= before[-1].at]
        return {
            place
            for place, offset in last.offsets.items()
            if all(each.offsets.get(place) == offset for each in since)
        }


def judge(
    partitions: Sequence[PartitionLag],
    members: int,
    trend: float | None,
    stands: Collection[Partition],
    is_replaying: bool,
) -> Verdict:
    """`stands`: partitions that are held, or have not moved for `STUCK_SECONDS`."""
    seconds = max((each.seconds or 0.0 for each in partitions), default=0.0)
    if any(each.expired or each.margin_seconds == 0 for each in partitions):
        return "losing_data"
    if is_replaying:
        return "replaying"
    if not members:
        return "stopped"
    if stands:
        return "stuck"
    if seconds < KEEPING_UP_SECONDS:
        return "keeping_up"
    return "catching_up" if trend is not None and trend < 0 else "falling_behind"


def oldest(partitions: Iterable[PartitionLag]) -> float | None:
    """Returns the age in seconds of the oldest unread message; None if there is none."""
    return max((each.seconds for each in partitions if each.seconds is not None), default=None)


def smallest_margin(partitions: Iterable[PartitionLag]) -> float | None:
    """Returns the seconds until Kafka may delete an unread message; None if it deletes none because of its age."""
    return min((each.margin_seconds for each in partitions if each.margin_seconds is not None), default=None)


def drain_seconds(messages: int, trend: float | None) -> float | None:
    """Returns when everything is read if the trend stays; None if it does not become less."""
    if not messages:
        return 0.0
    return messages / -trend if trend is not None and trend < 0 else None
