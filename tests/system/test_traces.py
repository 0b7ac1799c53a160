"""The trace of an order is whole: from the request over every event to every consumer, whatever happens on the way."""

import asyncio
import json
import os
import secrets
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions
from confluent_kafka import TopicPartition as Offset
from confluent_kafka.admin import AdminClient
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from fanout.local.stack_directory import StackDirectory
from tests.support.otlp_receiver import Context, OtlpReceiver, Received, Span, otlp_receiver
from tests.support.stack import Stack
from tests.support.system import System, system_of, until
from tests.support.traced import Facts, begun, damaged_contexts, facts_of, missing_spans

ORDERS, RATE = 100, 40.0
EXPORT_MS = "200"
"""Often, so that a test does not wait for five seconds."""

PLACED, CONFIRMED = "orders create orders OrderPlaced", "orders create orders OrderConfirmed"
PAID, SHIPPED = "payments create payments PaymentProcessed", "fulfillment create shipments OrderShipped"
RESERVED, ASSESSED = "inventory create inventory StockReserved", "fraud create fraud FraudAssessed"
EDGES = {
    ("", "orders POST /orders"),
    ("orders POST /orders", PLACED),
    *((PLACED, f"{each} process orders OrderPlaced") for each in ("payments", "inventory", "fraud")),
    *(
        (PLACED, f"{each} process orders OrderPlaced")
        for each in ("fulfillment", "notifications", "analytics")
    ),
    ("payments process orders OrderPlaced", PAID),
    ("inventory process orders OrderPlaced", RESERVED),
    ("fraud process orders OrderPlaced", ASSESSED),
    *(
        (PAID, f"{each} process payments PaymentProcessed")
        for each in ("orders", "notifications", "analytics")
    ),
    (RESERVED, "orders process inventory StockReserved"),
    (ASSESSED, "orders process fraud FraudAssessed"),
    *((CONFIRMED, f"{each} process orders OrderConfirmed") for each in ("fulfillment", "analytics")),
    ("fulfillment process orders OrderConfirmed", SHIPPED),
    *(
        (SHIPPED, f"{each} process shipments OrderShipped")
        for each in ("orders", "notifications", "analytics")
    ),
}
LATENCIES = (
    "fanout_http_request_duration_seconds",
    "fanout_outbox_seconds",
    "fanout_batch_duration_seconds",
    "fanout_event_age_seconds",
)
DECIDED = ({"orders process payments PaymentProcessed"}, {"orders process inventory StockReserved"})
"""Of these, the one that came last confirmed the order."""


@dataclass
class Traced:
    system: System
    received: Received

    async def settled_facts(self, order_ids: Sequence[str]) -> Facts:
        """Waits until nothing is in flight; returns what happened to the orders."""
        await self.system.settled()
        return await facts_of(self.system, order_ids)

    async def complete(self, facts: Facts) -> None:
        """Waits until every span is there, and compares the stored contexts with those in Kafka."""
        try:
            await asyncio.to_thread(self.received.wait, lambda: not missing_spans(facts, self.received), 20)
        except AssertionError:
            assert missing_spans(facts, self.received) == []
        assert damaged_contexts(facts, begun(self.received)) == []

    async def arrived(self, name: str, service: str, count: int = 1, **attributes: object) -> list[Span]:
        """Waits for so many spans; returns them in order of time."""
        return await asyncio.to_thread(
            self.received.wait,
            lambda: found if len(found := self.received.all(name, service, **attributes)) >= count else [],
        )


@pytest.fixture(scope="module")
def traced_stack(stack: Stack) -> Iterator[tuple[Stack, OtlpReceiver]]:
    """The stack, with an endpoint for its spans; it is as before afterwards."""
    with otlp_receiver() as receiver:
        tracing = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "OTEL_BSP_SCHEDULE_DELAY": EXPORT_MS}
        traced = Stack(stack.home, stack.environment | tracing, stack.repository)
        try:
            traced.must("up")
            yield traced, receiver
        finally:
            stack.must("up")


@pytest.fixture
async def traced(traced_stack: tuple[Stack, OtlpReceiver]) -> AsyncIterator[Traced]:
    stack, receiver = traced_stack
    receiver.received.clear()
    async with system_of(stack) as system:
        yield Traced(system, receiver.received)


async def test_the_trace_of_one_order_is_the_tree_of_its_events(traced: Traced) -> None:
    order_id = await traced.system.order()
    await traced.system.until_status(order_id, "shipped")
    facts = await traced.settled_facts([order_id])
    await traced.complete(facts)

    spans = traced.received.trace(facts.events[0].context.trace_id)
    by_id = {span.context.span_id: span for span in spans}
    edges = {(label(by_id[span.parent_id]) if span.parent_id else "", label(span)) for span in spans}
    [decided] = [{parent} for parent, child in edges if child == CONFIRMED]
    assert decided in DECIDED
    assert edges == EDGES | {(*decided, CONFIRMED)}
    assert len(spans) == len(edges), "each event was created once and applied once by each service"

    kinds = {"POST": "SERVER", "create": "PRODUCER", "process": "CONSUMER"}
    for span in spans:
        assert span.kind == kinds[span.name.split()[0]] and span.status != "ERROR"
        if parent := by_id.get(span.parent_id):
            assert parent.began <= span.began <= span.ended
        if span.name != "POST /orders":
            assert_describes_its_event(span, order_id)
    for event in facts.events:
        created = by_id[event.context.span_id]
        sent = traced.received.all(f"send {event.topic}", event.service)
        [sending] = [span for span in sent if event.context in span.links]
        assert sending.kind == "CLIENT" and sending.began >= created.began
        for processed in [span for span in spans if span.parent_id == created.context.span_id]:
            assert processed.began >= sending.began
            [batch] = [
                span
                for span in traced.received.linking_to(event.context)
                if span.name == processed.name and span.service == processed.service
            ]
            assert batch.attributes["messaging.batch.message_count"] == len(batch.links)
            assert batch.kind == "CONSUMER" and batch.began <= processed.began


def label(span: Span) -> str:
    return f"{span.service} {span.name} {span.attributes.get('fanout.event_type', '')}".strip()


def assert_describes_its_event(span: Span, order_id: str) -> None:
    operation, topic = span.name.split()
    expected = {
        "messaging.system": "kafka",
        "messaging.operation.name": operation,
        "messaging.destination.name": topic,
        "messaging.kafka.message.key": order_id,
        "fanout.order_id": order_id,
        "messaging.message.id": span.attributes["fanout.event_id"],
    }
    if operation == "process":
        expected |= {"messaging.consumer.group.name": span.service, "messaging.operation.type": "process"}
        assert {"messaging.destination.partition.id", "messaging.kafka.offset"} <= span.attributes.keys()
    assert expected.items() <= span.attributes.items()


async def test_the_traces_of_a_hundred_orders_are_complete_under_load(traced: Traced) -> None:
    report = await traced.system.load(ORDERS, RATE)
    assert report.complete and len(report.order_ids) == ORDERS
    facts = await traced.settled_facts(report.order_ids)
    assert len(facts.events) > 5 * ORDERS
    await traced.complete(facts)


async def test_a_killed_worker_loses_at_most_its_own_spans_and_no_stored_context(traced: Traced) -> None:
    victim = "inventory"
    pid = await pid_of(traced.system, f"{victim}-worker")
    load = asyncio.create_task(traced.system.load(ORDERS, RATE / 2, seed=2))
    await traced.arrived("process orders", victim)
    async with traced.system.connect(victim) as connection, connection.transaction():
        await connection.execute("LOCK TABLE consumer_offsets IN EXCLUSIVE MODE")
        await until(lambda: traced.system.someone_waits(victim, "INTO consumer_offsets"))
        os.kill(pid, signal.SIGKILL)  # at once: what it did in the last fifth of a second is not exported yet
    report = await load
    assert report.complete
    facts = await traced.settled_facts(report.order_ids)

    async def others_are_complete() -> bool:
        return not [each for each in missing_spans(facts, traced.received) if each[0] != victim]

    await until(others_are_complete)
    instances = {
        span.resource["service.instance.id"] for span in traced.received.all("process orders", victim)
    }
    assert len(instances) == 2, "the killed process and the one that follows it"
    missing = missing_spans(facts, traced.received)
    print(f"{len(missing)} spans of {victim} are missing, {len(facts.events)} contexts are intact")
    assert damaged_contexts(facts, begun(traced.received)) == []
    others = [each for each in traced.received.all() if each.service != victim and each.parent_id]
    known = traced.received.by_context().keys() | {event.context for event in facts.events}
    assert [str(each) for each in others if Context(each.context.trace_id, each.parent_id) not in known] == []


async def pid_of(system: System, process: str) -> int:
    rows = json.loads(await system.fanout("status", "--json"))["processes"]
    return int(next(row["pid"] for row in rows if row["process"] == process))


async def test_an_event_that_is_delivered_again_is_seen_as_redelivered(traced: Traced) -> None:
    order_id = await traced.system.order()
    await traced.system.until_status(order_id, "shipped")
    [placed] = [
        each for each in (await traced.settled_facts([order_id])).events if each.event_type == "OrderPlaced"
    ]
    [first] = await traced.arrived("process orders", "fraud", fanout__event_id=placed.event_id)
    await traced.system.fanout("stop", "fraud-worker")
    place = first.attributes["messaging.destination.partition.id"], first.attributes["messaging.kafka.offset"]
    move_back(traced.system, "fraud", Offset("orders", int(place[0]), int(place[1])))
    await traced.system.fanout("start", "fraud-worker")

    again = (await traced.arrived("process orders", "fraud", 2, fanout__event_id=placed.event_id))[1]
    assert again.context.trace_id == first.context.trace_id and again.parent_id == placed.context.span_id
    assert again.attributes["fanout.redelivered"] is True and "fanout.redelivered" not in first.attributes
    assert again.attributes["fanout.outcome"] == "duplicate"
    assert first.attributes["fanout.outcome"] == "applied"
    assert len(traced.received.all("create fraud", fanout__order_id=order_id)) == 1


def move_back(system: System, group: str, to: Offset) -> None:
    admin = AdminClient({"bootstrap.servers": system.stack.addresses.kafka})
    [moved] = admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, [to])]).values()
    moved.result(10)


async def test_what_is_parked_and_redriven_is_recorded_though_its_order_is_not_sampled(
    traced: Traced,
) -> None:
    system, trace_id = traced.system, secrets.token_hex(16)
    async with bug(system):
        order_id = await order_in_trace(system, f"00-{trace_id}-{secrets.token_hex(8)}-00")
        [parked] = await traced.arrived("process orders", "notifications", fanout__order_id=order_id)
        dead_letter_id = await until(lambda: dead_letter_of(system, order_id))
    facts = await traced.settled_facts([order_id])
    [placed] = [each for each in facts.events if each.event_type == "OrderPlaced"]
    assert placed.traceparent.startswith(f"00-{trace_id}-") and placed.traceparent.endswith("-00")
    assert traced.received.trace(trace_id) == [] and damaged_contexts(facts, {trace_id}) == []
    assert (parked.parent_id, parked.links, parked.status) == ("", [placed.context], "ERROR")
    assert parked.attributes["fanout.parked"] is True and parked.attributes["fanout.outcome"] == "parked"
    assert "bug" in str(parked.exceptions)

    await system.fanout("dlq", "redrive", str(dead_letter_id), "--why", "fixed")
    [redriven] = await traced.arrived(
        "process orders.notifications.retry", "notifications", fanout__event_id=placed.event_id
    )
    assert (redriven.parent_id, redriven.links, redriven.status) == ("", [placed.context], "UNSET")
    assert redriven.attributes["fanout.redrive"] == 1 and redriven.attributes["fanout.outcome"] == "applied"
    assert redriven.attributes["fanout.event_id"] == placed.event_id
    assert redriven.began > parked.ended and redriven.context.trace_id != parked.context.trace_id
    await system.settled()


@asynccontextmanager
async def bug(system: System) -> AsyncIterator[None]:
    """While it lasts, notifications cannot write a message about a placed order."""
    await system.query(
        "notifications", "ALTER TABLE messages ADD CONSTRAINT bug CHECK (kind <> 'order_placed') NOT VALID"
    )
    try:
        yield
    finally:
        await system.query("notifications", "ALTER TABLE messages DROP CONSTRAINT bug")


async def order_in_trace(system: System, traceparent: str) -> str:
    system.http.headers["traceparent"] = traceparent
    try:
        return await system.order()
    finally:
        del system.http.headers["traceparent"]


async def dead_letter_of(system: System, order_id: str) -> int | None:
    sql = "SELECT dead_letter_id FROM dead_letters WHERE key = $1"
    rows = await system.query("dead_letters", sql, order_id.encode())
    return rows[0]["dead_letter_id"] if rows else None


async def test_a_replay_is_seen_as_one_in_the_trace_of_every_order(traced: Traced) -> None:
    order_id = await traced.system.order()
    await traced.system.until_status(order_id, "shipped")
    facts = await traced.settled_facts([order_id])
    await traced.complete(facts)
    await traced.system.fanout("replay", "analytics")
    mine = [event for event in facts.events if "analytics" in facts.applied_by[event.event_id]]
    assert len(mine) == 4
    for event in mine:
        first, again = await traced.arrived(
            f"process {event.topic}", "analytics", 2, fanout__event_id=event.event_id
        )
        assert again.parent_id == first.parent_id == event.context.span_id
        assert again.context.trace_id == event.context.trace_id
        assert again.attributes["fanout.replayed"] is True and "fanout.replayed" not in first.attributes
        assert again.attributes["fanout.outcome"] == "applied"


async def test_log_lines_and_exemplars_name_spans_that_were_received(traced: Traced) -> None:
    order_id = await traced.system.order()
    await traced.system.until_status(order_id, "shipped")
    facts = await traced.settled_facts([order_id])
    await traced.complete(facts)
    trace_id = facts.events[0].context.trace_id
    spans = {span.context: span for span in traced.received.trace(trace_id)}

    lines = [line for line in log_lines(traced.system.stack) if line.get("trace_id") == trace_id]
    unknown = [line for line in lines if Context(trace_id, line["span_id"]) not in spans]
    assert unknown == []
    events = [line for line in lines if "event_id" in line]
    assert {line["order_id"] for line in events} == {order_id}
    assert {line["event_id"] for line in events} == {event.event_id for event in facts.events}
    seen = {(line["service"], line["event"]) for line in lines}
    assert {("orders", "request"), ("orders", "event_published"), ("fraud", "event_applied")} <= seen

    addresses = traced.system.stack.addresses
    found: dict[str, set[Context]] = {}
    for url in (addresses.apis["orders"], addresses.workers["orders"], addresses.workers["fraud"]):
        answer = await traced.system.http.get(
            f"{url}/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}
        )
        for family in text_string_to_metric_families(answer.text):  # type: ignore[no-untyped-call]
            labels = [sample.exemplar.labels for sample in family.samples if sample.exemplar]
            found.setdefault(family.name, set()).update(
                Context(each["trace_id"], each["span_id"]) for each in labels
            )
    received = traced.received.by_context()
    for histogram in LATENCIES:
        assert found[histogram] & received.keys(), histogram


def log_lines(stack: Stack) -> Iterator[dict[str, Any]]:
    for file in StackDirectory(stack.home).logs.glob("*-*.log"):
        for line in file.read_text(errors="replace").splitlines():
            if line.startswith("{"):
                yield json.loads(line)
