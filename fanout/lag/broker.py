"""Asks Kafka where groups stand, without joining one and without committing anything."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from chassis.config import Broker
from fanout.kafka_reader import TIMEOUT, Partition, record_ends


class Place(NamedTuple):
    topic: str
    partition: int
    offset: int


class Gap(NamedTuple):
    """A group has `messages` of one partition before it, the first of them at `first`."""

    group: str
    first: Place
    messages: int


def gaps(kafka: Broker, consumer: Consumer, listening: Iterable[tuple[str, str]]) -> list[Gap]:
    """For each partition of each (group, topic). A group that never committed stands at the beginning."""
    listening = sorted(listening)
    known = consumer.list_topics(timeout=TIMEOUT).topics
    spans = {
        (topic, number): consumer.get_watermark_offsets(TopicPartition(topic, number), TIMEOUT)
        for topic in {topic for _, topic in listening} & known.keys()
        for number in known[topic].partitions
    }
    committed = _committed(kafka, {group for group, _ in listening})
    found = [
        gap(group, partition, committed[group].get(partition), *spans[partition])
        for group, topic in listening
        for partition in sorted(spans)
        if partition[0] == topic
    ]
    return _without_control_records(consumer, found)


def gap(group: str, partition: Partition, committed: int | None, start: int, end: int) -> Gap:
    """What lies before `start` is gone by retention; no group is behind with it."""
    position = start if committed is None else max(committed, start)
    return Gap(group, Place(*partition, position), max(end - position, 0))


def _without_control_records(consumer: Consumer, found: Sequence[Gap]) -> list[Gap]:
    """No group is behind with what lies after the last record of a partition."""
    spans: dict[Partition, tuple[int, int]] = {}
    for _, first, messages in found:
        partition, end = (first.topic, first.partition), first.offset + messages
        start, _ = spans.get(partition, (first.offset, end))
        spans[partition] = min(start, first.offset), end
    ends = record_ends(consumer, spans)
    return [
        Gap(group, first, max(ends[first.topic, first.partition] - first.offset, 0))
        for group, first, _ in found
    ]


def _committed(kafka: Broker, groups: set[str]) -> dict[str, dict[Partition, int]]:
    admin = AdminClient({**kafka.for_librdkafka(), "log_level": 0})
    answers = {
        group: admin.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group)], request_timeout=TIMEOUT
        )
        for group in groups
    }
    return {
        group: {
            (at.topic, at.partition): at.offset
            for at in answer[group].result().topic_partitions
            if at.offset >= 0
        }
        for group, answer in answers.items()
    }
