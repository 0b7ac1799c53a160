"""Reads topics as records arrive, without joining a group and without committing anything."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from chassis.config import Broker
from chassis.events.decoding import NOT_UTF_8
from chassis.events.record import Record
from chassis.events.topics import event_topic
from fanout.errors import BadUsage, Unreachable, did_you_mean
from fanout.kafka_admin import ANSWER_SECONDS, SILENT, Partition
from fanout.kafka_reader import without_group

POLL_SECONDS = 0.2
AT_ONCE = 500
IGNORED_ERRORS = (
    # The group is never joined, so no right to it is needed; librdkafka reconnects by itself.
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._RESOLVE,
)


@contextmanager
def arriving(
    kafka: Broker, topics: Collection[str], since: datetime | None, from_beginning: bool
) -> Iterator[Iterator[list[Record]]]:
    """Gives batches of records, without end, empty ones while nothing arrives; within a batch the oldest is first.

    What arrives after this was entered is never missed. Raises BadUsage for an unknown topic, and Unreachable.
    """
    settings = {
        **without_group(kafka, "fanout-tail"),
        "reconnect.backoff.max.ms": 1000,
        "error_cb": lambda _: None,
    }
    consumer = Consumer(settings, logger=SILENT)
    try:
        consumer.assign(_starts(consumer, kafka, topics, since, from_beginning))
        yield _batches(consumer)
    finally:
        consumer.close()


def _starts(
    consumer: Consumer, kafka: Broker, topics: Collection[str], since: datetime | None, from_beginning: bool
) -> list[TopicPartition]:
    try:
        known = consumer.list_topics(timeout=ANSWER_SECONDS).topics
        if missing := [topic for topic in topics if topic not in known]:
            raise unknown_topic(missing[0], known)
        places = [(topic, number) for topic in topics for number in known[topic].partitions]
        if from_beginning:
            return [TopicPartition(*place, OFFSET_BEGINNING) for place in places]
        ends = [TopicPartition(*place, _end(consumer, place)) for place in places]
        if since is None:
            return ends
        at = int(since.timestamp() * 1000)
        found = consumer.offsets_for_times([TopicPartition(*place, at) for place in places], ANSWER_SECONDS)
        return [place if place.offset >= 0 else end for place, end in zip(found, ends, strict=True)]
    except KafkaException as error:
        raise Unreachable("Kafka", kafka.address) from error


def unknown_topic(name: str, known: Iterable[str]) -> BadUsage:
    """Returns the error, with the topics of events only; one of dead letters is named if that is probably meant."""
    public = sorted(topic for topic in known if not topic.startswith("_"))
    of_events = [topic for topic in public if event_topic(topic) == topic]
    return BadUsage(f"no topic {name}{did_you_mean(name, public)}; there are {', '.join(of_events)}")


def _end(consumer: Consumer, place: Partition) -> int:
    """Returns a number instead of OFFSET_END, which the client would look up later, when more may have arrived."""
    _, end = consumer.get_watermark_offsets(TopicPartition(*place), ANSWER_SECONDS)
    return end


def _batches(consumer: Consumer) -> Iterator[list[Record]]:
    while True:
        messages = consumer.consume(AT_ONCE, POLL_SECONDS)
        yield sorted(map(_record, filter(_is_record, messages)), key=lambda record: record.timestamp_ms)


def _is_record(message: Message) -> bool:
    error = message.error()
    if error and error.code() not in IGNORED_ERRORS:
        raise KafkaException(error)
    return error is None


def _record(message: Message) -> Record:
    return Record(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        timestamp_ms=message.timestamp()[1],
        key=message.key(),
        value=message.value(),
        headers=_headers(message),
    )


def _headers(message: Message) -> list[tuple[str, bytes | None]]:
    try:
        return cast(list[tuple[str, bytes | None]], message.headers() or [])
    except (SystemError, UnicodeDecodeError):  # raised by the client if a header name is not UTF-8
        return [(NOT_UTF_8, None)]
