"""What the traces of orders must hold, compared with the outboxes and inboxes of the services and with Kafka."""

import asyncio
import json
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from confluent_kafka import Consumer, TopicPartition

from fanout.repository import services
from tests.support.otlp_receiver import Context, Received, Span
from tests.support.system import System

VALID = re.compile("00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-0[01]")
SAMPLED = "-01"
OUTBOX = """
    SELECT event_id, aggregate_id, type, topic, headers, kafka_partition, kafka_offset FROM outbox
    WHERE aggregate_id = ANY($1) AND topic NOT LIKE '%.dlq' AND topic NOT LIKE '%.retry' ORDER BY id
"""
INBOX = "SELECT consumer, event_id FROM inbox WHERE status = 'applied' AND event_id = ANY($1::uuid[])"


@dataclass(frozen=True)
class StoredEvent:
    """A row of an outbox: `traceparent` is what was stored, `sent` what Kafka's record has."""

    service: str
    order_id: str
    event_id: str
    event_type: str
    topic: str
    traceparent: str
    sent: str

    @property
    def context(self) -> Context:
        return Context.of(self.traceparent)


@dataclass
class Facts:
    """What happened to some orders: their events, and who applied each of them."""

    events: list[StoredEvent]
    applied_by: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


async def facts_of(system: System, order_ids: Sequence[str]) -> Facts:
    """Reads all databases, and the records in Kafka that the outboxes name."""
    rows = [
        (service, row) for service in services() for row in await system.query(service, OUTBOX, order_ids)
    ]
    places = [(row["topic"], row["kafka_partition"], row["kafka_offset"]) for _, row in rows]
    sent = await asyncio.to_thread(traceparents, system.stack.addresses.kafka, places)
    facts = Facts(
        [
            StoredEvent(
                service,
                row["aggregate_id"],
                str(row["event_id"]),
                row["type"],
                row["topic"],
                dict(json.loads(row["headers"]))["traceparent"],
                sent[place],
            )
            for (service, row), place in zip(rows, places, strict=True)
        ]
    )
    ids = [UUID(event.event_id) for event in facts.events]
    for service in services():
        for row in await system.query(service, INBOX, ids):
            facts.applied_by[str(row["event_id"])].append(row["consumer"])
    return facts


def traceparents(kafka: str, places: Iterable[tuple[str, int, int]]) -> dict[tuple[str, int, int], str]:
    """Returns the header `traceparent` of each record, by topic, partition and offset."""
    wanted, found = set(places), dict[tuple[str, int, int], str]()
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": "nobody", "enable.auto.commit": False})
    first: dict[tuple[str, int], int] = {}
    for topic, partition, offset in wanted:
        first[topic, partition] = min(first.get((topic, partition), offset), offset)
    try:
        consumer.assign([TopicPartition(*partition, offset) for partition, offset in first.items()])
        while wanted - found.keys():
            record = consumer.poll(10)
            assert record is not None and record.error() is None, f"not in Kafka: {wanted - found.keys()}"
            place = record.topic(), record.partition(), record.offset()
            if place in wanted:
                found[place] = str(dict(record.headers() or [])["traceparent"], "ascii")  # type: ignore[arg-type]
    finally:
        consumer.close()
    return found


def missing_spans(facts: Facts, received: Received) -> list[tuple[str, str]]:
    """Returns what the traces lack: the service whose span it is, and what is missing.

    Complete is a trace in which each event has the span of its creation, with a parent that is there too, the span of
    a batch that sent it, and for each service that applied it a span of its own and that of a batch, linked to it.
    """
    spans = received.by_context()
    children, linking = defaultdict(list), defaultdict(list)
    for span in spans.values():
        children[span.context.trace_id, span.parent_id].append(span)
        for link in span.links:
            linking[link].append(span)
    missing = []
    for event in facts.events:
        what = f"{event.event_type} {event.event_id}"
        created = spans.get(event.context)
        if created is None or not _is_creation(created, event):
            missing.append((event.service, f"create {what}"))
        elif Context(created.context.trace_id, created.parent_id) not in spans:
            missing.append((event.service, f"the parent of create {what}"))
        if not _of(linking[event.context], f"send {event.topic}", event.service):
            missing.append((event.service, f"send {what}"))
        for consumer in facts.applied_by[event.event_id]:
            name = f"process {event.topic}"
            own = _of(children[event.context.trace_id, event.context.span_id], name, consumer)
            if not [span for span in own if span.attributes["fanout.event_id"] == event.event_id]:
                missing.append((consumer, f"process {what}"))
            if not _of(linking[event.context], name, consumer):
                missing.append((consumer, f"process the batch of {what}"))
    return missing


def _is_creation(span: Span, event: StoredEvent) -> bool:
    return (span.service, span.name, span.kind, span.attributes["messaging.message.id"]) == (
        event.service,
        f"create {event.topic}",
        "PRODUCER",
        event.event_id,
    )


def _of(spans: Iterable[Span], name: str, service: str) -> list[Span]:
    return [span for span in spans if span.name == name and span.service == service]


def damaged_contexts(facts: Facts, begun: Collection[str]) -> list[str]:
    """Returns events whose stored context is in no trace that was begun, is not the one in Kafka, or is used twice.

    What is not sampled has no span of its creation, and keeps the context of its cause.
    """
    used = Counter(event.context for event in facts.events if event.traceparent.endswith(SAMPLED))
    return [
        f"{event.event_type} {event.event_id}: {event.traceparent}, in Kafka {event.sent}"
        for event in facts.events
        if not VALID.fullmatch(event.traceparent)
        or event.context.trace_id not in begun
        or event.sent != event.traceparent
        or used[event.context] > 1
    ]


def begun(received: Received) -> set[str]:
    """Returns the ids of the traces that began with a span of their own.

    That is a request, POST /orders or POST /payments for an invoice, or a batch: what it says of an order that has no
    event in it, as fraud does of a customer's earlier orders, follows from all of it.
    """
    kinds = ("SERVER", "CONSUMER")
    return {span.context.trace_id for span in received.all() if span.kind in kinds and not span.parent_id}
