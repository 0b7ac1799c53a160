"""Headroom falls to zero exactly when Kafka may delete what was not read, and what it deletes then counts as lost."""

import time
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


def test_headroom_is_zero_exactly_when_records_expire_unread(stack: Stack) -> None:
    admin = AdminClient({"bootstrap.servers": stack.addresses.kafka})
    topic = group = f"headroom-{uuid4().hex}"
    for created in admin.create_topics([NewTopic(topic, 1, 1, config=SETTINGS)]).values():
        created.result()
    try:
        first = [ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, 0)])]
        admin.alter_consumer_group_offsets(first)[group].result()
        appended_at = appended(stack, topic)
        watched = until_deleted(stack, group, topic)
    finally:
        admin.delete_topics([topic])[topic].result()

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


def until_deleted(stack: Stack, group: str, topic: str) -> list[tuple[float, GroupLag]]:
    """Measures until Kafka has deleted all records; returns what it was at which time."""
    meter, watched = LagMeter(stack.addresses.broker, {}), list[tuple[float, GroupLag]]()
    deadline = time.time() + RETENTION_SECONDS + 2 * CHECKED_EVERY_SECONDS + 40
    while not watched or watched[-1][1].messages:
        assert time.time() < deadline, watched[-1]
        _, [found] = meter.measure_kafka({(group, topic)}, {}, with_outside=False)
        watched.append((time.time(), found))
        time.sleep(0.25)
    return watched
