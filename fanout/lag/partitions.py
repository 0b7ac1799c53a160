"""Where a group is in a partition, from what Kafka and the group's database say.

| the database has              | then the group is at                                                              |
|-------------------------------|-----------------------------------------------------------------------------------|
| an offset of this topic       | the later of it and Kafka's; at Kafka's if the group reads again                  |
| an offset of an older topic   | the beginning: the topic was made anew                                            |
| none, but one of the topic    | Kafka's, else the beginning: the partition was added                              |
| none of the topic at all      | Kafka's, else the first record that there is                                      |

What is before either offset is processed or unwanted. Workers commit to Kafka once a second only, and to the database
only what they wanted. A group reads again during a replay, or when Kafka's offsets are `REWOUND` before the database's.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from fanout.kafka_admin import Partition
from fanout.lag.kafka import KafkaFacts, OldestRecord, Position
from fanout.lag.services import ServiceFacts, StoredPosition

REWOUND = 10_000
"""A worker passes over so many processed records in seconds. It is more than it processes between two commits."""


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """Says how many messages and seconds a consumer group is behind in one partition, and how many it lost there."""

    group: str
    topic: str
    partition: int
    offset: int
    """The next offset to process."""
    messages: int
    lost: int = 0
    """Deleted by Kafka before the group read them, since the group exists."""
    expired: int = 0
    """Of those, what the group's worker has not noticed yet."""
    seconds: float | None = None
    """Age of the oldest record that is not processed; None if there is none, or Kafka does not deliver it."""
    margin_seconds: float | None = None
    """Until Kafka may delete that record; None also where it never does because of age."""
    is_readable: bool = True
    """False if the headers of that record cannot be read."""

    @property
    def place(self) -> Partition:
        return self.topic, self.partition


@dataclass(frozen=True, slots=True)
class Gap:
    """What a group has not processed in a partition, before its records were looked at."""

    group: str
    position: Position
    end: int
    lost: int
    expired: int

    @property
    def partition(self) -> Partition:
        return self.position.partition

    @property
    def is_empty(self) -> bool:
        return self.position.offset >= self.end


def gaps(
    group: str, topic: str, kafka: KafkaFacts, service: ServiceFacts | None, is_replaying: bool
) -> Iterator[Gap]:
    """Yields the gap of a group in each partition of a topic; `service` is None for a group of no service."""
    stored = (
        {}
        if service is None
        else {place: at for (name, place), at in service.positions.items() if name == group}
    )
    knows_topic = any(place[0] == topic for place in stored)
    committed = kafka.committed.get(group, {})
    for place in sorted(place for place in kafka.ends if place[0] == topic):
        start, end, topic_id = kafka.starts[place], kafka.ends[place], kafka.topic_ids[topic]
        mine = stored.get(place)
        if mine and mine.topic_id not in (None, topic_id):
            mine = replace(mine, next_offset=0)
            at: int | None = 0
        else:
            at = committed.get(place) if is_replaying else latest(mine, committed.get(place))
        if at is None:
            at = 0 if knows_topic else start
        expired = 0 if is_replaying else max(min(start, end) - at, 0)
        lost = (mine.lost if mine else 0) + expired
        yield Gap(group, Position(topic_id, place, max(at, start)), end, lost, expired)


def latest(stored: StoredPosition | None, committed: int | None) -> int | None:
    known = [at for at in (stored.next_offset if stored else None, committed) if at is not None]
    return max(known, default=None)


def is_rewound(group: str, kafka: KafkaFacts, service: ServiceFacts) -> bool:
    """Returns True if the group reads again what it has processed: a replay, or offsets that were set back by hand."""
    committed = kafka.committed.get(group, {})
    behind = sum(
        max(at.next_offset - committed.get(place, at.next_offset), 0)
        for (name, place), at in service.positions.items()
        if name == group and kafka.topic_ids.get(place[0]) == at.topic_id
    )
    return behind >= REWOUND


def lag(
    gap: Gap,
    record_end: int,
    oldest: Mapping[Position, OldestRecord],
    retention_seconds: float | None,
    now: float,
    from_append: bool,
) -> PartitionLag:
    """`record_end`: the offset after the last record; `from_append`: count from Kafka's time, not the event's."""
    (topic, number), offset = gap.partition, gap.position.offset
    messages = max(record_end - offset, 0)
    found = PartitionLag(gap.group, topic, number, offset, messages, gap.lost, gap.expired)
    record = oldest.get(gap.position) if messages else None
    if record is None:
        return found
    made = record.appended_at if from_append else record.made_at
    margin = None if retention_seconds is None else max(record.appended_at + retention_seconds - now, 0.0)
    return replace(found, seconds=max(now - made, 0.0), margin_seconds=margin, is_readable=record.is_readable)
