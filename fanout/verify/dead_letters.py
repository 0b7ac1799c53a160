"""Follows parked messages: parked by a consumer, sent as a dead letter, stored by the service dead_letters.

A consumer writes the parked message and the outbox row of its dead letter in one transaction, so it has both or
neither.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from chassis.events.dead_letter import DLQ_HEADERS, REDRIVE_HEADERS, Origin, split_headers
from chassis.events.topics import DLQ, REDRIVE
from chassis.outbox.table import UnreadableHeaders, load_headers
from fanout.databases import at_once
from fanout.verify.invariants import Verdict
from fanout.verify.records import Partition, Position, TopicIds
from fanout.verify.snapshot import Passes, Snapshot

SENT = "every parked message was sent as a dead letter"
STORED = "every dead letter that was sent is stored"
PARKED = "every dead letter was parked by its consumer"


class Key(NamedTuple):
    """Where and when a consumer first read a record: says which dead letter is meant."""

    consumer: str
    topic: str
    partition: int
    offset: int
    record_at: datetime

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}] at {self.offset}, parked by {self.consumer}"


@dataclass(slots=True)
class Consumer:
    """What one database says of its parked messages."""

    service: str
    parked: Counter[Key] = field(default_factory=Counter)
    sent: Counter[Key] = field(default_factory=Counter)
    arrived: set[Key] = field(default_factory=set)
    """Sent to offsets that the service dead_letters has passed."""
    parked_since: datetime | None = None
    """Parked messages from before may have been deleted."""
    sent_since: datetime | None = None
    read_since: datetime | None = None
    """A replay from a time forgets what the consumer did with records from before."""
    failed_at: dict[Key, datetime] = field(default_factory=dict)

    def may_have_forgotten(self, key: Key, failed_at: datetime) -> bool:
        return _is_before(failed_at, self.parked_since) or _is_before(key.record_at, self.read_since)


async def follow(passes: Passes, reached: Mapping[Partition, Position], topic_ids: TopicIds) -> list[Verdict]:
    """Returns three verdicts. `reached`: the positions of the service dead_letters, from its first snapshot."""
    consumers = await at_once(_consumer(snapshot, reached, topic_ids) for snapshot in passes.second.values())
    unsent = [
        str(key)
        for each in consumers
        for key in (each.parked - each.sent)
        if not _is_before(each.failed_at[key], each.sent_since)
    ]
    if "dead_letters" not in passes.first:
        return [Verdict(SENT, sorted(unsent))]
    stored = await _stored(passes.first["dead_letters"])
    cutoff = await passes.second["dead_letters"].value(_CUTOFF)
    arrived = {key for each in consumers for key in each.arrived}
    missing = [str(key) for key in arrived - stored.keys() if not _is_before(key.record_at, cutoff)]
    return [
        Verdict(SENT, sorted(unsent)),
        Verdict(STORED, sorted(missing)),
        Verdict(PARKED, sorted(_never_parked(stored, consumers))),
    ]


def _never_parked(stored: Mapping[Key, datetime], consumers: Iterable[Consumer]) -> Iterator[str]:
    """Yields stored dead letters that their consumer has never parked, if its database was read."""
    by_name = {each.service: each for each in consumers}
    for key, failed_at in stored.items():
        consumer = by_name.get(key.consumer)
        if consumer and key not in consumer.parked and not consumer.may_have_forgotten(key, failed_at):
            yield str(key)


async def _consumer(
    snapshot: Snapshot, reached: Mapping[Partition, Position], topic_ids: TopicIds
) -> Consumer:
    found = Consumer(snapshot.service)
    for what, before in await snapshot.fetch("SELECT what, before FROM purges"):
        if what == "parked":
            found.parked_since = before
        if what == "outbox":
            found.sent_since = before
        if what == "inbox":
            found.read_since = before
    async for row in snapshot.stream(_PARKED):
        key = _key_of_parked(row["consumer"], row)
        found.parked[key] += 1
        found.failed_at[key] = row["last_failed_at"]
    async for row in snapshot.stream(_SENT):
        sent = _key_of_sent(row["headers"])
        if sent:
            found.sent[sent] += 1
        if sent and row["kafka_offset"] is not None and _is_passed(row, reached, topic_ids):
            found.arrived.add(sent)
    return found


def _is_passed(row: Mapping[str, object], reached: Mapping[Partition, Position], topic_ids: TopicIds) -> bool:
    topic, number, offset, topic_id = (
        row["topic"],
        row["kafka_partition"],
        row["kafka_offset"],
        row["topic_id"],
    )
    position = reached.get(Partition(topic, number))  # type: ignore[arg-type]
    if position is None:
        return False
    sent, read = topic_ids.age(topic, topic_id), topic_ids.age(topic, position.topic_id)  # type: ignore[arg-type]
    return sent < read or (sent == read and offset < position.next_offset)  # type: ignore[operator]


async def _stored(snapshot: Snapshot) -> dict[Key, datetime]:
    """Returns stored dead letters of consumers of this system, and when each failed last."""
    return {Key(*tuple(row)[:5]): row["last_failed_at"] async for row in snapshot.stream(_STORED)}


def _key_of_parked(consumer: str, row: Mapping[str, object]) -> Key:
    """Returns where the record was first read; a redriven record carries that in its headers."""
    here = Key(consumer, row["topic"], row["partition"], row["kafka_offset"], row["record_at"])  # type: ignore[arg-type]
    first = _origin(consumer, row["headers"], REDRIVE_HEADERS) if here.topic.endswith(REDRIVE) else None
    return first or here


def _key_of_sent(headers: str) -> Key | None:
    try:
        _, added = split_headers(load_headers(headers), DLQ_HEADERS)
    except UnreadableHeaders:
        return None
    return _origin(added.get("dlq_consumer", ""), headers, DLQ_HEADERS)


def _origin(consumer: str, headers: object, names: tuple[str, ...]) -> Key | None:
    try:
        _, added = split_headers(load_headers(str(headers)), names)
        origin = Origin.read(added)
    except (KeyError, ValueError):
        return None
    return Key(consumer, origin.topic, origin.partition, origin.kafka_offset, origin.record_at)


def _is_before(timestamp: datetime, cutoff: datetime | None) -> bool:
    return cutoff is not None and timestamp < cutoff


_PARKED = "SELECT consumer, topic, partition, kafka_offset, record_at, headers, last_failed_at FROM parked"
_SENT = f"""
    SELECT topic, kafka_partition, kafka_offset, topic_id, headers FROM outbox
    WHERE topic LIKE '%{DLQ}'
"""
_STORED = """
    SELECT consumer, topic, partition, kafka_offset, record_at, last_failed_at FROM dead_letters
    WHERE error_type <> 'NotParkedByUs'
"""
_CUTOFF = "SELECT max(before) FROM purges WHERE what = 'dead_letters'"
