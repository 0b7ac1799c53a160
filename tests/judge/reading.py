"""Reads Kafka to its end, then every table of every database twice, each database in one snapshot.

The offsets of the groups are read first: what they have passed has a receipt by the time that the databases are read.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from fanout.running import Addresses
from tests.judge.evidence import LISTENERS, TOPICS, Evidence, Fact, Log, Row, Tables

SECONDS = 20.0
CHASSIS_TABLES = ("outbox", "inbox", "consumer_offsets", "purges")
TABLES = {
    "orders": ("orders", "order_lines"),
    "payments": ("payments", "movements"),
    "inventory": ("stock", "reservations", "reservation_lines"),
    "fraud": ("assessments",),
    "fulfillment": ("shipments",),
    "notifications": ("messages",),
    "analytics": ("steps", "order_lines", "sales"),
    "dead_letters": ("dead_letters",),
}


def read_evidence(addresses: Addresses) -> Evidence:
    log = read_log(addresses)
    before, after = (asyncio.run(read_databases(addresses.databases)) for _ in range(2))
    return Evidence(log, before, after)


def read_log(addresses: Addresses) -> Log:
    settings = addresses.broker.for_librdkafka()
    committed = _committed(AdminClient(settings))
    consumer = Consumer(
        {
            **settings,
            "group.id": "judge",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
        }
    )
    try:
        return _read_topics(consumer, committed)
    finally:
        consumer.close()


def _committed(admin: AdminClient) -> dict[tuple[str, str, int], int]:
    groups = sorted({group for listeners in LISTENERS.values() for group in listeners})
    found = {}
    for group in groups:
        asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])
        for place in asked[group].result(SECONDS).topic_partitions:
            if place.offset >= 0:
                found[group, place.topic, place.partition] = place.offset
    return found


def _read_topics(consumer: Consumer, committed: Mapping[tuple[str, str, int], int]) -> Log:
    at = datetime.now(UTC)
    topics = consumer.list_topics(timeout=SECONDS).topics
    wanted = [name for name in topics if name in TOPICS or name.endswith(".dlq")]
    places = [TopicPartition(name, number) for name in wanted for number in topics[name].partitions]
    spans = {(each.topic, each.partition): consumer.get_watermark_offsets(each, SECONDS) for each in places}
    facts: dict[UUID, Fact] = {}
    letters: list[tuple[str, str, int, int]] = []
    strangers = 0
    for message in _messages(consumer, {place: span for place, span in spans.items() if span[0] < span[1]}):
        headers = _headers(message)
        if (message.topic() or "").endswith(".dlq"):
            letters += _about(headers)
        elif fact := _fact(message, headers):
            facts.setdefault(fact.event_id, fact)  # what the relay sent twice is one fact
        else:
            strangers += 1
    return Log(at, list(facts.values()), spans, committed, letters, strangers)


def _messages(consumer: Consumer, spans: Mapping[tuple[str, int], tuple[int, int]]) -> Iterator[Message]:
    """Yields all records of the partitions, up to the ends that they had at the beginning."""
    consumer.assign([TopicPartition(*place, start) for place, (start, _) in spans.items()])
    unfinished = set(spans)
    while unfinished:
        if (message := consumer.poll(SECONDS)) is None:
            raise TimeoutError(f"Kafka did not answer for {SECONDS:.0f} s")
        place = message.topic() or "", message.partition() or 0
        if error := message.error():
            if error.code() == KafkaError._PARTITION_EOF:
                unfinished.discard(place)
            elif not error.retriable():
                raise KafkaException(error)
            continue
        offset, (_, end) = message.offset() or 0, spans[place]
        if offset < end:
            yield message
        if offset + 1 >= end:
            unfinished.discard(place)


def _headers(message: Message) -> dict[str, bytes]:
    """Returns the headers; of several with one name, the last."""
    headers = dict(message.headers() or [])
    return {name: value for name, value in headers.items() if isinstance(value, bytes)}


def _fact(message: Message, headers: Mapping[str, bytes]) -> Fact | None:
    """Returns None for a record that is no event of ours."""
    event_type = headers.get("ce_type", b"").decode(errors="replace")
    try:
        event_id = UUID(headers["ce_id"].decode())
    except (KeyError, ValueError):
        return None
    topic, key = message.topic() or "", message.key()
    if event_type not in LISTENERS or not isinstance(key, bytes) or headers.get("ce_subject") != key:
        return None
    return Fact(event_id, topic, event_type, key.decode(), None, message.partition(), message.offset())


def _about(headers: Mapping[str, bytes]) -> list[tuple[str, str, int, int]]:
    names = ("dlq_consumer", "dlq_topic", "dlq_partition", "dlq_kafka_offset")
    if not all(name in headers for name in names):
        return []
    consumer, topic, partition, offset = (headers[name].decode() for name in names)
    return [(consumer, topic, int(partition), int(offset))]


async def read_databases(databases: Mapping[str, str]) -> Tables:
    """`databases`: service -> `postgresql+asyncpg://…`."""
    return {service: await _read_database(databases[service], TABLES[service]) for service in TABLES}


async def _read_database(url: str, tables: Sequence[str]) -> dict[str, Sequence[Row]]:
    db = await asyncpg.connect(url.replace("+asyncpg", ""), server_settings={"statement_timeout": "0"})
    try:
        async with db.transaction(isolation="repeatable_read", readonly=True):
            return {table: await db.fetch(_select(table)) for table in (*tables, *CHASSIS_TABLES)}
    finally:
        await db.close()


def _select(table: str) -> str:
    if table == "outbox":
        return (
            "SELECT event_id, topic, type, aggregate_id, aggregate_version, kafka_partition, kafka_offset, "
            "published_at, discarded_at FROM outbox"
        )
    return f"SELECT * FROM {table}"
