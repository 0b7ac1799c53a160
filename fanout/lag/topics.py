"""The lag of a group in one topic: what a line of `fanout lag` shows."""

from collections.abc import Sequence
from dataclasses import dataclass

from fanout.lag.partitions import PartitionLag
from fanout.lag.verdicts import GroupLag, drain_seconds, oldest, smallest_margin


@dataclass(frozen=True, slots=True)
class TopicLag:
    """`seconds` is the age of the oldest message that the group has not processed; None if there is none."""

    group: str
    topic: str
    messages: int
    seconds: float | None
    margin_seconds: float | None = None
    """Until Kafka may delete the oldest unread message of a partition."""
    lost: int = 0
    trend: float | None = None
    """Messages a second by which the lag grows."""
    outside: bool = False
    """The group belongs to no service."""
    partitions: Sequence[PartitionLag] = ()

    @property
    def drain_seconds(self) -> float | None:
        return drain_seconds(self.messages, self.trend)


def by_topic(group: GroupLag) -> list[TopicLag]:
    parts: dict[str, list[PartitionLag]] = {}
    for each in group.partitions:
        parts.setdefault(each.topic, []).append(each)
    return [
        TopicLag(
            group.group,
            topic,
            sum(each.messages for each in mine),
            oldest(mine),
            smallest_margin(mine),
            sum(each.lost for each in mine),
            group.trends.get(topic),
            group.outside,
            mine,
        )
        for topic, mine in parts.items()
    ]
