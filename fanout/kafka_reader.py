"""Reads partitions without joining a group, and finds where their records end.

The last offsets of a partition may belong to transaction markers or to records of an aborted transaction. Consumers
that read only committed records never see them, so no group is behind by them and no group ever commits them.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from chassis.config import Broker
from fanout.kafka_admin import Partition

TIMEOUT = 5.0
WIDEN = 16


@contextmanager
def reader(kafka: Broker) -> Iterator[Consumer]:
    consumer = open_reader(kafka)
    try:
        yield consumer
    finally:
        consumer.close()


def open_reader(kafka: Broker) -> Consumer:
    """Returns a consumer that fetches little at once; the caller closes it."""
    return Consumer(
        {
            **without_group(kafka, "fanout-lag"),
            "enable.partition.eof": True,
            "queued.min.messages": 1,
            "fetch.queue.backoff.ms": 10,
            "log_level": 0,
        }
    )


def without_group(kafka: Broker, name: str) -> dict[str, Any]:
    """Returns the settings of a client that is assigned its partitions by hand, and commits no offsets."""
    return {
        **kafka.for_librdkafka(),
        "group.id": name,  # required by the client, but never joined
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
        "fetch.wait.max.ms": 100,
    }


def record_ends(
    consumer: Consumer, ranges: Mapping[Partition, tuple[int, int]], seconds: float = TIMEOUT
) -> dict[Partition, int]:
    """Returns, for each partition's `(start, end)`, the offset after its last record; `start` if there is none.

    Reads backwards in growing steps. Where Kafka does not answer in time it returns `end`.
    """
    ends = {partition: end for partition, (_, end) in ranges.items()}
    searched = {partition: span for partition, span in ranges.items() if span[0] < span[1]}
    step = 1
    while searched:
        begins = {partition: max(start, end - step) for partition, (start, end) in searched.items()}
        last = _last_offsets(consumer, begins, ends, seconds)
        ends |= {partition: offset + 1 for partition, offset in last.items() if offset is not None}
        empty = {partition for partition, offset in last.items() if offset is None}
        ends |= {partition: begins[partition] for partition in empty}
        searched = {
            partition: (start, begins[partition])
            for partition, (start, _) in searched.items()
            if partition in empty and begins[partition] > start
        }
        step *= WIDEN
    return ends


def _last_offsets(
    consumer: Consumer, begins: Mapping[Partition, int], ends: Mapping[Partition, int], seconds: float
) -> dict[Partition, int | None]:
    """Returns the offset of the last record between begin and end, None without one; leaves out silent partitions."""
    consumer.assign([TopicPartition(*partition, begin) for partition, begin in begins.items()])
    found: dict[Partition, int] = {}
    finished: set[Partition] = set()
    deadline = monotonic() + seconds
    while len(finished) < len(begins) and monotonic() < deadline:
        if (message := consumer.poll(0.2)) is None:
            continue
        partition = message.topic() or "", message.partition() or 0
        offset, error = message.offset() or 0, message.error()
        if error and error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
            continue  # the group is never joined, so no permission for it is needed
        if error and error.code() != KafkaError._PARTITION_EOF:
            raise KafkaException(error)
        if not error and offset < ends[partition]:
            found[partition] = offset
        if error or offset >= ends[partition] - 1:
            finished.add(partition)
    return {partition: found.get(partition) for partition in finished}
