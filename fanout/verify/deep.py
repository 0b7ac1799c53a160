"""Reads the topics themselves, each partition once and to its end, and compares every record with its outbox row.

The ends of the partitions are asked for before the outboxes are read, so that every record before an end has its row:
a row is committed before it is sent. A row that is not marked as sent yet, or that was sent again, has its record at
another offset than its own: such a record is a repeat. Memory holds one batch of records, the ids of repeats, and the
last version of each key of one partition.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import md5
from typing import Any, cast
from uuid import UUID

import asyncpg
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from chassis.config import Broker
from chassis.events.avro import FRAME, MAGIC
from chassis.events.registry import Registry, RegistryUnavailable, SchemaNotRegistered
from chassis.events.topics import DLQ, REDRIVE
from chassis.outbox.framing import Written, schema_ids
from fanout.databases import Databases
from fanout.errors import Unreachable
from fanout.kafka_admin import ANSWER_SECONDS, SILENT, admin_of
from fanout.kafka_reader import without_group
from fanout.kafka_topics import topic_ids
from fanout.running import Addresses
from fanout.verify.compare import Tell
from fanout.verify.invariants import Verdict
from fanout.verify.records import Partition
from fanout.verify.snapshot import Pass, Snapshot, passes
from schemas import EVENTS

AT_ONCE = 2_000
LOOKED_UP = 20_000
POLL_SECONDS = 1.0
PATIENCE_SECONDS = 30.0
NAMED = 1_000


@dataclass(slots=True)
class Findings:
    """What all partitions together showed. Lists end at NAMED; `counts` are complete."""

    partitions: int = 0
    records: int = 0
    compared: int = 0
    repeats: int = 0
    """Records of rows that were sent again, and of rows that are not marked as sent yet."""
    strange: int = 0
    """Records without an event id, or that were not written by a contract of this system."""
    gone: int = 0
    """Rows whose record was deleted by retention, or with an older topic of the same name."""
    altered: list[str] = field(default_factory=list)
    misplaced: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    disordered: list[str] = field(default_factory=list)

    @property
    def verdicts(self) -> list[Verdict]:
        return [
            Verdict("every record in Kafka has the payload of its outbox row", self.altered),
            Verdict("every row that was sent is in Kafka at its offset", self.misplaced),
            Verdict("every event in Kafka is in an outbox", self.unknown),
            Verdict("in Kafka the versions of an aggregate rise", self.disordered),
        ]

    @property
    def as_json(self) -> Mapping[str, object]:
        counts = ("partitions", "records", "compared", "repeats", "strange", "gone")
        return {name: getattr(self, name) for name in counts}

    def __str__(self) -> str:
        return (
            f"{self.records} records of {self.partitions} partitions read: {self.compared} compared with their outbox "
            f"rows, {self.repeats} sent again, {self.strange} of unknown producers; {self.gone} rows have no record "
            "any more"
        )


async def read_topics(addresses: Addresses, tell: Tell = lambda text: None) -> Findings:
    """Returns what every topic shows, compared with the outboxes.

    Raises Unreachable for Kafka, the registry or a database, and FanoutError for another error of a database.
    """
    try:
        with _reader(addresses.broker) as kafka:
            names, sent_before = await _topics(addresses.databases)
            spans = _spans(kafka, addresses.broker, names)
            async with passes(addresses.databases) as both:
                frames = await _frames(both.second, addresses)
                return await _Deep(kafka, both.second, frames, sent_before, tell).read(spans)
    except KafkaException as error:
        raise Unreachable("Kafka", addresses.kafka) from error
    except RegistryUnavailable as error:
        raise Unreachable("the registry", addresses.registry_url) from error


@dataclass(frozen=True, slots=True)
class Span:
    """A partition as it was when the comparison began: records from `start`, none from `end` on."""

    partition: Partition
    topic_id: UUID
    start: int
    end: int


Frames = Mapping[Written, bytes]
"""The bytes before the payload, by the contract of a row."""


@dataclass(slots=True)
class _Deep:
    kafka: Consumer
    outboxes: Pass
    frames: Frames
    sent_before: Mapping[str, datetime]
    """By service, a time before the ends of the partitions were asked for: what was marked as sent lies before them."""
    tell: Tell
    found: Findings = field(default_factory=Findings)
    unmatched: dict[UUID, tuple[str, bytes, datetime]] = field(default_factory=dict)
    """Records that are not at the offset of their row: what they are called, the hash of their value, and when."""
    resent_since: datetime | None = None
    purged_until: datetime | None = None

    async def read(self, spans: Sequence[Span]) -> Findings:
        for snapshot in self.outboxes.values():
            resent = await snapshot.value(_RESENT) and await snapshot.value("SELECT min(at) FROM resends")
            self.resent_since = min(filter(None, (self.resent_since, resent)), default=None)
            purged = await snapshot.value(_PURGED)
            self.purged_until = max(filter(None, (self.purged_until, purged)), default=None)
        for number, span in enumerate(spans, start=1):
            self.tell(
                f"reading {span.partition}, {number} of {len(spans)} partitions; {self.found.records} records"
            )
            await self._partition(span)
            self.found.partitions += 1
        await self._look_up()
        return self.found

    async def _partition(self, span: Span) -> None:
        """Walks through the records and the rows of one partition side by side, in the order of offsets."""
        rows = self._rows(span)
        row = await anext(rows, None)
        versions: dict[bytes, tuple[int, asyncpg.Record]] = {}
        sent_before: set[UUID] = set()
        missing: list[tuple[int, str]] = []
        async for message in self._messages(span):
            self.found.records += 1
            offset = message.offset() or 0
            while row and row["kafka_offset"] < offset:
                missing.append((row["kafka_offset"], _name_of(row, span)))
                row = await anext(rows, None)
            if row and row["kafka_offset"] == offset:
                self._compare(message, row, span)
                if row["event_id"] not in sent_before:
                    self._check_order(row, versions, span)
                row = await anext(rows, None)
            elif event_id := self._not_at_its_offset(message, span):
                sent_before.add(event_id)
                if len(self.unmatched) >= LOOKED_UP:
                    await self._look_up()
        while row:
            missing.append((row["kafka_offset"], _name_of(row, span)))
            row = await anext(rows, None)
        self._add_missing(missing, span)
        for service, snapshot in self.outboxes.items():
            asked = await self._asked(snapshot, span)
            for row in await snapshot.fetch(_BEYOND, *asked, span.end, self.sent_before[service]):
                _add(self.found.misplaced, f"{_name_of(row, span)}: no record is there")

    def _compare(self, message: Message, row: asyncpg.Record, span: Span) -> None:
        self.found.compared += 1
        value: bytes | None = message.value()
        frame = b"" if row["type"] is None else self.frames.get(_written(row), b"")
        payload = None if value is None else value[len(frame) :]
        is_same = (value or b"").startswith(frame) and _hash(payload) == row["hash"]
        if row["is_event"] and _header(message, "ce_id") != str(row["event_id"]):
            _add(self.found.misplaced, f"{_name_of(row, span)}: another event is there")
        elif not is_same:
            _add(self.found.altered, _name_of(row, span))

    def _check_order(
        self, row: asyncpg.Record, versions: dict[bytes, tuple[int, asyncpg.Record]], span: Span
    ) -> None:
        """Leaves out rows that an operator had sent again: `fanout resend` records that."""
        if row["aggregate_version"] is None or row["key"] is None:
            return
        if self.resent_since and row["published_at"] and row["published_at"] >= self.resent_since:
            return
        version, _ = versions.get(row["key"], (0, row))
        if row["aggregate_version"] < version:
            _add(
                self.found.disordered,
                f"{_name_of(row, span)}: version {row['aggregate_version']} after {version}",
            )
        versions[row["key"]] = max(version, row["aggregate_version"]), row

    def _not_at_its_offset(self, message: Message, span: Span) -> UUID | None:
        """Returns the event id of a record to be looked up. Dead letters carry the id of another event."""
        try:
            event_id = UUID(_header(message, "ce_id"))
        except ValueError:
            self.found.strange += 1
            return None
        if span.partition.topic.endswith((DLQ, REDRIVE)):
            self.found.repeats += 1
            return None
        value: bytes = message.value() or b""
        if value[: FRAME.size] not in self.frames.values():
            self.found.strange += 1
            return None
        key: bytes = message.key() or b""
        what = (
            f"{_header(message, 'ce_type') or 'an event'} of {key.decode(errors='replace')} (event {event_id}) "
            f"in {span.partition} at {message.offset()}"
        )
        _, at = message.timestamp()
        self.unmatched[event_id] = what, _hash(value[FRAME.size :]), datetime.fromtimestamp(at / 1000, UTC)
        return event_id

    async def _look_up(self) -> None:
        """Tells records of rows that were sent again from those that no outbox has."""
        waiting, self.unmatched = self.unmatched, {}
        if not waiting:
            return
        for snapshot in self.outboxes.values():
            for event_id, payload_hash in await snapshot.fetch(_KNOWN, list(waiting)):
                what, hash, _ = waiting.pop(event_id)
                self.found.repeats += 1
                if hash != payload_hash:
                    _add(self.found.altered, f"{what}, sent before its row was sent again")
        for what, _, at in waiting.values():
            if self.purged_until and at < self.purged_until:
                self.found.gone += 1
            else:
                _add(self.found.unknown, what)

    def _add_missing(self, missing: Sequence[tuple[int, str]], span: Span) -> None:
        """Leaves out rows whose records were deleted by retention meanwhile."""
        if not missing:
            return
        start, _ = self.kafka.get_watermark_offsets(TopicPartition(*span.partition), timeout=ANSWER_SECONDS)
        for offset, name in missing:
            if offset >= start:
                _add(self.found.misplaced, f"{name}: no record is there")
            else:
                self.found.gone += 1

    async def _rows(self, span: Span) -> AsyncIterator[asyncpg.Record]:
        """Yields the rows of all outboxes that were sent to this partition of this topic, in the order of offsets.

        A topic of events has one sender, and so has each topic beside it.
        """
        for snapshot in self.outboxes.values():
            asked = await self._asked(snapshot, span)
            self.found.gone += await snapshot.value(_GONE, *asked, span.start)
            async for row in snapshot.stream(_ROWS, *asked, span.start, span.end):
                yield row

    @staticmethod
    async def _asked(snapshot: Snapshot, span: Span) -> tuple[object, ...]:
        """Returns the parameters of `_OF_TOPIC`. A row without a topic id is of the oldest topic of its name."""
        oldest = await snapshot.value(_OLDEST_TOPIC, span.partition.topic)
        return *span.partition, span.topic_id, oldest in (None, span.topic_id)

    async def _messages(self, span: Span) -> AsyncIterator[Message]:
        if span.start >= span.end:
            return
        self.kafka.assign([TopicPartition(*span.partition, span.start)])
        silent_polls = 0
        while True:
            # `consume` with a time waits for so many messages or all of the time, though the end is among them.
            first = self.kafka.poll(POLL_SECONDS)
            batch = [first, *self.kafka.consume(AT_ONCE, 0)] if first else []
            silent_polls = 0 if batch else silent_polls + 1
            if silent_polls * POLL_SECONDS > PATIENCE_SECONDS:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
            for message in batch:
                if error := message.error():
                    if error.code() == KafkaError._PARTITION_EOF:
                        return
                    if error.code() in _PASSING:
                        continue
                    raise KafkaException(error)
                if (message.offset() or 0) >= span.end:
                    return
                yield message
                if (message.offset() or 0) == span.end - 1:
                    return


@contextmanager
def _reader(kafka: Broker) -> Any:
    settings = {
        **without_group(kafka, "fanout-verify"),
        "enable.partition.eof": True,
        "error_cb": lambda _: None,
    }
    consumer = Consumer(settings, logger=SILENT)
    try:
        yield consumer
    finally:
        consumer.close()


async def _topics(databases: Databases) -> tuple[set[str], Mapping[str, datetime]]:
    """Returns the topics of all events and of all rows in outboxes, and when each database was asked."""
    async with passes(databases) as both:
        rows = [row for snapshot in both.first.values() for row in await snapshot.fetch(_TOPICS)]
        return {row["topic"] for row in rows} | {event_type.TOPIC for event_type in EVENTS}, both.read_at


def _spans(kafka: Consumer, broker: Broker, wanted: Iterable[str]) -> list[Span]:
    existing = kafka.list_topics(timeout=ANSWER_SECONDS).topics
    names = sorted(name for name in wanted if name in existing)
    ids = topic_ids(admin_of(broker), names)
    spans = []
    for name in names:
        for number in sorted(existing[name].partitions):
            start, end = kafka.get_watermark_offsets(TopicPartition(name, number), timeout=ANSWER_SECONDS)
            spans.append(Span(Partition(name, number), ids[name], start, end))
    return spans


async def _frames(outboxes: Pass, addresses: Addresses) -> Frames:
    found = {Written(event_type.TOPIC, event_type.NAME, event_type.SCHEMA_VERSION) for event_type in EVENTS}
    for snapshot in outboxes.values():
        found |= {Written(*row) for row in await snapshot.fetch(_WRITTEN)}
    registry = Registry(addresses.registry_url)
    try:
        ids = await schema_ids(found, registry)
    finally:
        await registry.aclose()
    return {
        written: FRAME.pack(MAGIC, schema_id)
        for written, schema_id in ids.items()
        if not isinstance(schema_id, SchemaNotRegistered)
    }


def _written(row: asyncpg.Record) -> Written:
    return Written(row["topic"], row["type"], row["schema_version"])


def _name_of(row: asyncpg.Record, span: Span) -> str:
    what = f"{row['type'] or 'a message'} of {row['aggregate_id'] or 'no order'}"
    return f"{what} in {span.partition} at {row['kafka_offset']} (outbox row {row['id']})"


def _header(message: Message, name: str) -> str:
    """Returns the last header of this name as text, or ""."""
    headers = cast(Sequence[tuple[str, bytes | None]], message.headers() or [])
    values = [value or b"" for header, value in headers if header == name]
    return values[-1].decode("ascii", "replace") if values else ""


def _hash(payload: bytes | None) -> bytes:
    return md5(payload or b"", usedforsecurity=False).digest()


def _add(found: list[str], what: str) -> None:
    if len(found) < NAMED:
        found.append(what)


_PASSING = (
    KafkaError.GROUP_AUTHORIZATION_FAILED,  # the group is never joined, so no right to it is needed
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
)
_TOPICS = "SELECT DISTINCT topic FROM outbox UNION SELECT topic FROM topic_ids"
_WRITTEN = "SELECT DISTINCT topic, type, schema_version FROM outbox WHERE type IS NOT NULL"
_RESENT = "SELECT to_regclass('resends') IS NOT NULL"
_PURGED = "SELECT max(before) FROM purges WHERE what = 'outbox'"
_OLDEST_TOPIC = "SELECT (SELECT topic_id FROM topic_ids WHERE topic = $1 ORDER BY first_seen_at LIMIT 1)"
_OF_TOPIC = """
    topic = $1 AND kafka_partition = $2 AND kafka_offset IS NOT NULL
        AND (topic_id = $3 OR (topic_id IS NULL AND $4))
"""
_GONE = f"""
    SELECT count(*) FROM outbox WHERE topic = $1 AND kafka_partition = $2 AND kafka_offset IS NOT NULL
        AND NOT ({_OF_TOPIC} AND kafka_offset >= $5)
"""
_ROWS = f"""
    SELECT id, event_id, topic, type, schema_version, aggregate_id, aggregate_version, key, kafka_offset, published_at,
        aggregate_id IS NOT NULL AS is_event, decode(md5(coalesce(payload, '')), 'hex') AS hash
    FROM outbox WHERE {_OF_TOPIC} AND kafka_offset >= $5 AND kafka_offset < $6 ORDER BY kafka_offset
"""
_BEYOND = f"""
    SELECT id, topic, type, aggregate_id, kafka_offset FROM outbox
    WHERE {_OF_TOPIC} AND kafka_offset >= $5 AND published_at < $6 ORDER BY kafka_offset LIMIT {NAMED}
"""
_KNOWN = """
    SELECT event_id, decode(md5(coalesce(payload, '')), 'hex') FROM outbox WHERE event_id = ANY($1::uuid[])
"""
