"""Decides at which offset a consumer begins to read a partition, and how many records it comes too late for.

| the database has            | then                                                                                 |
|-----------------------------|--------------------------------------------------------------------------------------|
| an offset of this topic     | read from there; or from Kafka's lower one, which a replay has set                   |
| an offset of an older topic | read from the beginning: the topic was deleted and made anew                         |
| none, but one of the topic  | the partition was added: read from the beginning                                     |
| none of the topic at all    | the consumer is new: read from Kafka's offset, or what there is. Nothing of it is lost |

What lies between that offset and the first one that Kafka still has is lost. It is counted in numbers of offsets, so
a transaction's end marker that Kafka deleted before it was read counts as a record.
"""

from dataclasses import dataclass
from uuid import UUID

import structlog

from chassis.events.kafka_topics import PartitionLog

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class StoredOffset:
    """What the database has of a partition; rows that an earlier release wrote have no topic id."""

    next_offset: int
    topic_id: UUID | None
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Opening:
    """Where reading begins. The inbox ignores what lies between that and `next_offset`, which is stored."""

    read_from: int
    next_offset: int
    lost: int = 0
    is_new_topic: bool = False
    is_cut: bool = False
    """True if Kafka itself has lost records at the end of the partition, and may have used their offsets again."""


def opening(
    log: PartitionLog, stored: StoredOffset | None, knows_topic: bool = False, refused: int | None = None
) -> Opening:
    """`refused`: the offset at which Kafka refused to read this partition, because it has no such offset."""
    is_new_topic = stored is not None and stored.topic_id not in (None, log.topic_id)
    if refused is not None and log.start <= refused and not is_new_topic:
        return Opening(log.start, log.start, is_cut=True)
    reached = 0 if is_new_topic else _reached(log, stored, knows_topic)
    begins = reached if log.committed is None or is_new_topic else min(reached, log.committed)
    next_offset = max(reached, log.start)
    return Opening(max(begins, log.start), next_offset, next_offset - reached, is_new_topic)


def _reached(log: PartitionLog, stored: StoredOffset | None, knows_topic: bool) -> int:
    if stored is not None:
        return stored.next_offset
    if log.committed is not None:
        return log.committed
    return 0 if knows_topic else log.start


def log_opening(partition: tuple[str, int], opened: Opening, kafka: PartitionLog) -> None:
    """Logs in words what is unusual."""
    what: dict[str, object] = {"topic": partition[0], "partition": partition[1], "offset": opened.read_from}
    if opened.is_new_topic:
        log.warning("topic_made_anew", **what, topic_id=str(kafka.topic_id))
    if opened.is_cut:
        reason = "Kafka has lost records at the end of the partition; it is read again from its beginning"
        log.error("partition_cut_off", **what, reason=reason)
    if opened.lost:
        span = {"from": opened.next_offset - opened.lost, "to": opened.next_offset, "messages": opened.lost}
        reason = f"Kafka deleted {opened.lost} messages before they were read"
        remedy = "`fanout verify` says which events are lost, if any"
        log.error("messages_lost", **what, **span, reason=reason, remedy=remedy)
    if kafka.committed is not None and opened.read_from < kafka.committed:
        log.warning("partition_rewound", **what, kafka=kafka.committed)
