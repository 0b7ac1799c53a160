"""Headroom falls to zero exactly when Kafka may delete what was not read; what compaction removed has no age."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from uuid import uuid4

from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from fanout.lag.measure import LagMeter
from fanout.lag.verdicts import GroupLag
from tests.support.stack import Stack

RETENTION_SECONDS = 15.0
RECORDS = 3
CHECKED_EVERY_SECONDS = 10.0
"""`log.retention.check.interval.ms` of deploy/kafka/server.properties."""
EXACT_SECONDS = 0.5
SETTINGS = {
    "retention.ms": f"{RETENTION_SECONDS * 1000:.0f}",
    "message.timestamp.type": "LogAppendTime",
    "file.delete.delay.ms": "1000",
}


COMPACTED = {
    "cleanup.policy": "compact",
    "min.cleanable.dirty.ratio": "0.01",
    "segment.ms": "1000",
    "message.timestamp.type": "CreateTime",
}
COMPACTION_SECONDS = 90.0


@contextmanager
def new_topic(stack: Stack, settings: Mapping[str, str]) -> Iterator[str]:
    """Yields its name, which is also that of a group that is at its beginning."""
    admin = AdminClient({"bootstrap.servers": stack.addresses.kafka})
    name = f"lag-{uuid4().hex}"
    for created in admin.create_topics([NewTopic(name, 1, 1, config=dict(settings))]).values():
        created.result()
    try:
        first = [ConsumerGroupTopicPartitions(name, [TopicPartition(name, 0, 0)])]
        admin.alter_consumer_group_offsets(first)[name].result()
        yield name
    finally:
        admin.delete_topics([name])[name].result()


def measured(meter: LagMeter, topic: str) -> GroupLag:
    """Measures the group of the topic's name."""
    _, [found] = meter.measure_kafka({(topic, topic)}, {}, with_outside=False)
    return found


def test_what_compaction_has_removed_is_not_the_oldest_record(stack: Stack) -> None:
    producer = Producer({"bootstrap.servers": stack.addresses.kafka})
    with new_topic(stack, COMPACTED) as topic:
        begun = time.time()
        producer.produce(topic, b"old", b"replaced", 0, timestamp=round((begun - 900) * 1000))
        producer.produce(topic, b"old", b"kept", 0, timestamp=round((begun - 300) * 1000))
        assert producer.flush(10) == 0
        assert 899 < (measured(LagMeter(stack.addresses.broker, {}), topic).seconds or 0) < 960
        while (measured(LagMeter(stack.addresses.broker, {}), topic).seconds or 0) > 600:
            assert time.time() < begun + COMPACTION_SECONDS, "Kafka does not compact the topic"
            producer.produce(topic, b"new", b"replaced", 0)
            assert producer.flush(10) == 0
            time.sleep(1)
        [found] = measured(LagMeter(stack.addresses.broker, {}), topic).partitions
        assert found.seconds is not None and abs(found.seconds - (time.time() - begun + 300)) < EXACT_SECONDS
        assert (found.offset, found.margin_seconds) == (0, None)


def test_headroom_is_zero_exactly_when_records_expire_unread(stack: Stack) -> None:
    with new_topic(stack, SETTINGS) as topic:
        appended_at = appended(stack, topic)
        watched = until_deleted(stack, topic)
    before = [(at, each) for at, each in watched if each.messages]
    for at, each in before:
        assert each.margin_seconds is not None
        assert abs(each.margin_seconds - max(appended_at + RETENTION_SECONDS - at, 0.0)) < EXACT_SECONDS
        assert each.verdict == ("stopped" if each.margin_seconds else "losing_data")
    warned = [
        at for at, each in before if each.margin_seconds and each.margin_seconds < RETENTION_SECONDS / 2
    ]
    due = [at for at, each in before if each.margin_seconds == 0]
    deleted_at, last = watched[-1]
    assert warned and due, "it is seen to fall, and to be zero before the records are gone"
    assert warned[0] < due[0] <= deleted_at < appended_at + RETENTION_SECONDS + 2 * CHECKED_EVERY_SECONDS + 40
    assert (last.verdict, last.margin_seconds, sum(part.lost for part in last.partitions)) == (
        "losing_data",
        None,
        RECORDS,
    )


def appended(stack: Stack, topic: str) -> float:
    """Writes records and returns when Kafka appended the first."""
    producer, times = Producer({"bootstrap.servers": stack.addresses.kafka}), list[float]()
    for _ in range(RECORDS):
        producer.produce(
            topic,
            b"unread",
            partition=0,
            on_delivery=lambda _, sent: times.append(sent.timestamp()[1] / 1000),
        )
    assert producer.flush(10) == 0
    return min(times)


def until_deleted(stack: Stack, topic: str) -> list[tuple[float, GroupLag]]:
    """Measures until Kafka has deleted all records; returns what it was at which time."""
    meter, watched = LagMeter(stack.addresses.broker, {}), list[tuple[float, GroupLag]]()
    deadline = time.time() + RETENTION_SECONDS + 2 * CHECKED_EVERY_SECONDS + 40
    while not watched or watched[-1][1].messages:
        assert time.time() < deadline, watched[-1]
        watched.append((time.time(), measured(meter, topic)))
        time.sleep(0.25)
    return watched
