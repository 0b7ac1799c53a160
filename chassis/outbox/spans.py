"""The spans of the relay: one for each batch and topic, with a link to the creation context of each message."""

from collections.abc import Mapping, Sequence
from typing import Any

from chassis.events.topics import DLQ, REDRIVE
from chassis.outbox.outcome import Outcome
from chassis.outbox.table import UnreadableHeaders, load_headers
from chassis.telemetry import traces
from chassis.telemetry.span import Attributes, Exemplar, Span
from chassis.telemetry.trace_context import TraceContext, context_in, linked

StoredRow = Mapping[str, Any]
"""`id`, `topic`, `key` and `headers` of the table, as asyncpg returns them."""
Row = tuple[StoredRow, Mapping[str, bytes | None], TraceContext | None]
"""A row of the outbox, its headers, and the context in them."""


def record_sends(
    batch: Sequence[StoredRow], outcome: Outcome, seconds: Mapping[int, float], began_ns: int
) -> Exemplar | None:
    """Records what became of a batch, and returns what names one of its spans; `seconds` by row: time in the outbox.

    A span is recorded if one of its messages is sampled, is parked, redriven or refused, or if sending failed.
    """
    if not traces.is_on():
        return None
    by_topic: dict[str, list[Row]] = {}
    for row in batch:
        headers = _headers(row)
        by_topic.setdefault(row["topic"], []).append((row, headers, context_in(headers)))
    spans = [_record(topic, rows, outcome, seconds, began_ns) for topic, rows in by_topic.items()]
    return traces.exemplar(next(filter(None, spans), None))


def _record(
    topic: str, rows: Sequence[Row], outcome: Outcome, seconds: Mapping[int, float], began_ns: int
) -> Span | None:
    refused = [each for each in outcome.refused if each.topic == topic]
    is_troubled = bool(refused or outcome.failure) or topic.endswith((DLQ, REDRIVE))
    if not is_troubled and not any(context and context.is_sampled for _, _, context in rows):
        return None
    to = set(linked(context for _, _, context in rows))
    links = [(context, _of_link(row, seconds)) for row in rows if (context := row[2]) in to and context]
    about: dict[str, str | int | float | bool] = {
        "messaging.system": "kafka",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": topic,
        "messaging.batch.message_count": len(rows),
        "fanout.outbox.seconds": max(seconds[row["id"]] for row, _, _ in rows),
    }
    if len(rows) == 1:
        about |= _of_message(rows[0], outcome)
    span = traces.start(f"send {topic}", traces.CLIENT, None, links, about, began_ns, always=True)
    if span is None:
        return None
    if refused:
        span.set({"error.type": refused[0].error_type})
        span.set_error(f"{len(refused)} messages cannot be sent: {refused[0].error_message}")
    elif outcome.failure:
        span.set({"error.type": outcome.failure.partition(" ")[0]})
        span.set_error(outcome.failure)
    span.end()
    return span


def _of_link(row: Row, seconds: Mapping[int, float]) -> Attributes | None:
    """Returns what is known of one message of many; a link to what nobody recorded needs none of it."""
    stored, headers, context = row
    if context is None or not context.is_sampled:
        return None
    return {"messaging.message.id": _id(headers), "fanout.outbox.seconds": seconds[stored["id"]]}


def _of_message(row: Row, outcome: Outcome) -> Attributes:
    stored, headers, _ = row
    about: dict[str, str | int | float | bool] = {
        "messaging.message.id": _id(headers),
        "messaging.kafka.message.key": (stored["key"] or b"").decode("utf-8", "replace"),
        "fanout.event_id": _id(headers),
        "fanout.order_id": (headers.get("ce_subject") or b"").decode("utf-8", "replace"),
    }
    for sent in outcome.sent:
        if sent.id == stored["id"]:
            about["messaging.destination.partition.id"] = str(sent.partition)
            about["messaging.kafka.offset"] = sent.offset
    return about


def _headers(row: StoredRow) -> Mapping[str, bytes | None]:
    try:
        return dict(load_headers(row["headers"]))
    except UnreadableHeaders:
        return {}


def _id(headers: Mapping[str, bytes | None]) -> str:
    return (headers.get("ce_id") or b"").decode("ascii", "replace")
