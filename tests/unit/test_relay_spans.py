"""The relay records a span for each batch and topic, linked to each creation; what fails is recorded always."""

from typing import Any

import pytest
from opentelemetry.trace import SpanKind

from chassis.outbox.outcome import Outcome, Refused, Sent
from chassis.outbox.spans import record_sends
from chassis.outbox.table import dump_headers
from chassis.telemetry.trace_context import TraceContext, new_root
from tests.support.recorded_spans import RecordedSpans, context_of, ids, links_of, recorded_spans

BEGAN = 1_700_000_000_000_000_000


def row(number: int, topic: str = "orders", context: TraceContext | None = None) -> dict[str, Any]:
    headers = {"ce_id": f"event-{number}", "ce_subject": f"order-{number}"}
    if context:
        headers["traceparent"] = context.traceparent
    stored = dump_headers([(name, text.encode()) for name, text in headers.items()])
    return {"id": number, "topic": topic, "key": f"order-{number}".encode(), "headers": stored}


def sampled() -> TraceContext:
    return new_root()._replace(is_sampled=True)


def recorded(rows: list[dict[str, Any]], outcome: Outcome) -> tuple[RecordedSpans, dict[str, str] | None]:
    with recorded_spans() as spans:
        exemplar = record_sends(rows, outcome, {each["id"]: each["id"] / 4 for each in rows}, BEGAN)
    return spans, exemplar


def test_each_topic_of_a_batch_has_a_span_with_a_link_to_each_recorded_creation() -> None:
    first, second, third = sampled(), new_root(), sampled()
    rows = [row(1, "orders", first), row(2, "fraud", third), row(3, "orders", second), row(4, "orders")]
    spans, exemplar = recorded(rows, Outcome([Sent(2, "fraud", 5, 77)]))
    of_orders, of_fraud = spans.one("send orders"), spans.one("send fraud")
    assert links_of(of_orders) == [ids(first)] and links_of(of_fraud) == [ids(third)]
    assert [span.kind for span in spans.all()] == [SpanKind.CLIENT] * 2
    assert of_orders.start_time == BEGAN and of_orders.status.is_unset
    about = of_orders.attributes or {}
    assert (about["messaging.batch.message_count"], about["fanout.outbox.seconds"]) == (3, 1.0)
    assert [dict(link.attributes or {}) for link in of_orders.links] == [
        {"messaging.message.id": "event-1", "fanout.outbox.seconds": 0.25}
    ]
    assert {
        "messaging.message.id": "event-2",
        "messaging.kafka.offset": 77,
        "messaging.destination.partition.id": "5",
        "fanout.outbox.seconds": 0.5,
    }.items() <= dict(of_fraud.attributes or {}).items()
    assert exemplar == dict(zip(("trace_id", "span_id"), context_of(of_orders), strict=True))


def test_what_is_not_sampled_is_not_recorded_while_it_is_sent() -> None:
    spans, exemplar = recorded([row(1, context=new_root()), row(2)], Outcome([Sent(1, "orders", 0, 0)]))
    assert not spans.all() and exemplar is None


@pytest.mark.parametrize("topic", ["orders.fraud.dlq", "orders.fraud.retry"])
def test_what_is_parked_or_redriven_is_always_recorded(topic: str) -> None:
    context = new_root()
    spans, _ = recorded([row(1, topic, context)], Outcome([Sent(1, topic, 0, 0)]))
    assert links_of(spans.one(f"send {topic}")) == [ids(context)]


def test_a_refused_message_is_an_error_of_its_topic_only() -> None:
    outcome = Outcome(refused=[Refused(1, "orders", b"k", "UNKNOWN_TOPIC_OR_PART", "no topic orders")])
    spans, _ = recorded([row(1, "orders", new_root()), row(2, "fraud", new_root())], outcome)
    [span] = spans.all()
    assert span.name == "send orders" and "no topic orders" in (span.status.description or "")
    assert (span.attributes or {})["error.type"] == "UNKNOWN_TOPIC_OR_PART"


def test_an_unavailable_kafka_is_an_error_of_the_whole_batch() -> None:
    outcome = Outcome(failure="_TRANSPORT for topic orders: broker away")
    spans, _ = recorded([row(1, "orders", new_root()), row(2, "fraud", sampled())], outcome)
    assert [(span.attributes or {})["error.type"] for span in spans.all()] == ["_TRANSPORT"] * 2


def test_headers_that_cannot_be_read_make_no_link() -> None:
    spans, _ = recorded([row(1) | {"headers": "{"}, row(2, context=sampled())], Outcome())
    assert len(links_of(spans.one("send orders"))) == 1
