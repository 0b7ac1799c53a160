"""Reads a service's topic where its outbox has holes, and returns the events there that the outbox does not have."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from time import monotonic
from typing import Any
from uuid import UUID

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from sqlalchemy import text

from chassis.config import Broker
from chassis.events.decoding import decode_record
from chassis.events.record import EVENT_TYPES, DecodedRecord, Record
from chassis.events.registry import Registry
from fanout.databases import snapshot
from fanout.errors import Unreachable
from fanout.kafka_admin import admin_of
from fanout.kafka_reader import TIMEOUT, reader
from fanout.kafka_topics import topic_ids
from fanout.recover.holes import Hole, holes, read_in_one_go, spans_of
from schemas import Event


@dataclass(frozen=True, slots=True)
class Servers:
    """What is compared: the service's own database, Kafka, and the registry that has its contracts."""

    database_url: str
    broker: Broker
    registry_url: str


@dataclass(frozen=True, slots=True)
class Missing:
    """An event in Kafka that its service's outbox does not have."""

    decoded: DecodedRecord
    topic_id: UUID | None

    @property
    def record(self) -> Record:
        return self.decoded.record

    @property
    def order_id(self) -> str:
        return self.decoded.event.key

    @property
    def version(self) -> int:
        return self.decoded.event.aggregate_version

    @property
    def type(self) -> str:
        return self.decoded.event.NAME

    @property
    def at(self) -> datetime:
        return self.record.at


@dataclass(frozen=True)
class Comparison:
    """`taken`: the order and version of events whose place in the outbox another event has by now."""

    events: Sequence[Missing] = ()
    taken: frozenset[tuple[str, int]] = field(default_factory=frozenset)

    @property
    def to_take_over(self) -> list[Missing]:
        return [each for each in self.events if (each.order_id, each.version) not in self.taken]

    @property
    def said_again(self) -> list[Missing]:
        """Events that the service has published a second time, under another event id."""
        return [each for each in self.events if (each.order_id, each.version) in self.taken]


class TooManyHoles(Exception):
    """There is more to read than was asked for."""

    def __init__(self, records: int) -> None:
        super().__init__(f"{records:,} records would have to be read")
        self.records = records


async def compare(
    service: str,
    topic: str,
    servers: Servers,
    most: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Comparison:
    """Compares the service's topic with its outbox. Raises Unreachable, or TooManyHoles beyond `most` records."""
    url = servers.database_url
    try:
        with reader(servers.broker) as consumer:
            topic_id = topic_ids(admin_of(servers.broker), [topic]).get(topic)
            spans = spans_of(consumer, topic)
            found = await holes(service, url, topic, topic_id, spans)
            total = sum(hole.end - hole.start for hole in found)
            if most is not None and total > most:
                raise TooManyHoles(total)
            records = list(_records(consumer, topic, found, lambda done: progress(done, total)))
    except KafkaException as error:
        raise Unreachable("Kafka", servers.broker.address) from error
    unknown = await _not_in_outbox(service, url, records)
    events = [Missing(each, topic_id) for each in await _events(unknown, servers.registry_url)]
    return Comparison(events, await _taken(service, url, topic, events))


def _records(
    consumer: Consumer, topic: str, found: Sequence[Hole], progress: Callable[[int], None]
) -> Iterator[Record]:
    done = 0
    for spans in read_in_one_go(found):
        for record in _read(consumer, topic, spans):
            if any(
                hole.partition == record.partition and hole.start <= record.offset < hole.end
                for hole in found
            ):
                done += 1
                progress(done)
                yield record


def _read(consumer: Consumer, topic: str, spans: Mapping[int, Hole]) -> Iterator[Record]:
    """Yields the records of the spans. Raises Unreachable if Kafka sends nothing for a while."""
    consumer.assign([TopicPartition(topic, number, span.start) for number, span in spans.items()])
    open_spans, deadline = dict(spans), monotonic() + TIMEOUT
    while open_spans:
        message = consumer.poll(0.2)
        if message is None:
            if monotonic() > deadline:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
            continue
        deadline = monotonic() + TIMEOUT
        number, error = message.partition() or 0, message.error()
        if error and error.code() not in (KafkaError._PARTITION_EOF, KafkaError.GROUP_AUTHORIZATION_FAILED):
            raise KafkaException(error)
        if error and error.code() != KafkaError._PARTITION_EOF:
            continue  # the group is never joined
        span = open_spans.get(number)
        if span is None:
            continue
        if not error and (message.offset() or 0) < span.end:
            yield _record(message)
        if error or (message.offset() or 0) >= span.end - 1:
            del open_spans[number]


def _record(message: Message) -> Record:
    try:
        headers: Any = message.headers() or []
    except (SystemError, UnicodeDecodeError):  # raised by the client if a header's name is not UTF-8
        headers = []
    return Record(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        timestamp_ms=message.timestamp()[1],
        key=message.key(),
        value=message.value(),
        headers=headers,
    )


async def _not_in_outbox(service: str, url: str, records: Sequence[Record]) -> list[Record]:
    """Returns the first of the records of each event that no row has, neither a sent one nor one still to send."""
    by_id = {record.event_id: record for record in reversed(records) if record.event_id}
    async with snapshot(service, url) as db:
        known = set((await db.execute(_KNOWN, {"ids": list(by_id)})).scalars())
    return [record for event_id, record in by_id.items() if event_id not in known]


async def _events(records: Sequence[Record], registry_url: str) -> list[DecodedRecord]:
    """Returns the records that are events, in the order in which Kafka got them."""
    if not records:
        return []
    registry = Registry(registry_url)
    try:
        decoded = [await decode_record(record, EVENT_TYPES, registry) for record in records]
    finally:
        await registry.aclose()
    events = [each for each in decoded if isinstance(each, DecodedRecord) and is_storable(each.event)]
    return sorted(
        events, key=lambda each: (each.record.timestamp_ms, each.record.partition, each.record.offset)
    )


def is_storable(event: Event) -> bool:
    """Returns whether Postgres can hold every text of the event: what has a NUL in it never was in an outbox."""
    return not any("\0" in text for text in _texts(asdict(event)))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts(list(value.values()))
    elif isinstance(value, Sequence):
        for each in value:
            yield from _texts(each)


async def _taken(service: str, url: str, topic: str, events: Sequence[Missing]) -> frozenset[tuple[str, int]]:
    values = {
        "topic": topic,
        "orders": [each.order_id for each in events],
        "versions": [each.version for each in events],
    }
    async with snapshot(service, url) as db:
        return frozenset((row.order_id, row.version) for row in await db.execute(_TAKEN, values))


_KNOWN = text("SELECT event_id FROM outbox WHERE event_id = ANY (:ids)")
_TAKEN = text("""
    SELECT order_id, version FROM outbox
    JOIN unnest(CAST(:orders AS text[]), CAST(:versions AS int[])) AS asked (order_id, version)
        ON aggregate_id = order_id AND aggregate_version = version
    WHERE topic = :topic
""")
