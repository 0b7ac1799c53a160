"""The spans of the relay: one for each batch and topic, with a link to the creation context of each message."""

from collections.abc import Mapping, Sequence

from chassis.events.topics import DLQ, REDRIVE
from chassis.outbox.outcome import Outcome, Outgoing, Refused
from chassis.telemetry import traces
from chassis.telemetry.span import Attributes, Exemplar, Span
from chassis.telemetry.trace_context import TraceContext, parse


def record_sends(
    batch: Sequence[Outgoing | Refused], outcome: Outcome, seconds: Mapping[int, float], began_ns: int
) -> Exemplar | None:
    """Records what became of a batch, and returns what names one of its spans; `seconds` by row: time in the outbox.

    A span is recorded if one of its messages is sampled, is parked, redriven or refused, or if sending failed.
    """
    if not traces.is_on():
        return None
    by_topic: dict[str, list[Outgoing]] = {}
    for row in batch:
        if isinstance(row, Outgoing):
            by_topic.setdefault(row.topic, []).append(row)
    spans = [_record(topic, rows, outcome, seconds, began_ns) for topic, rows in by_topic.items()]
    return traces.exemplar(next(filter(None, spans), None))


def _record(
    topic: str, rows: Sequence[Outgoing], outcome: Outcome, seconds: Mapping[int, float], began_ns: int
) -> Span | None:
    contexts = [(row, context) for row in rows if (context := _context(row))]
    refused = [each for each in outcome.refused if each.topic == topic]
    is_troubled = bool(refused or outcome.failure) or topic.endswith((DLQ, REDRIVE))
    if not is_troubled and not any(context.is_sampled for _, context in contexts):
        return None
    links = [(context, _of_link(row, context, seconds)) for row, context in contexts]
    about: dict[str, str | int | float | bool] = {
        "messaging.system": "kafka",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": topic,
        "messaging.batch.message_count": len(rows),
        "fanout.outbox.seconds": max(seconds[row.id] for row in rows),
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


def _context(row: Outgoing) -> TraceContext | None:
    headers = dict(row.headers)
    traceparent, tracestate = (headers.get(name) or b"" for name in ("traceparent", "tracestate"))
    return parse(traceparent.decode("ascii", "replace"), tracestate.decode("ascii", "replace"))


def _of_link(row: Outgoing, context: TraceContext, seconds: Mapping[int, float]) -> Attributes | None:
    """Returns what is known of one message of many; a link to what nobody recorded needs none of it."""
    if not context.is_sampled:
        return None
    return {"messaging.message.id": _id(row), "fanout.outbox.seconds": seconds[row.id]}


def _of_message(row: Outgoing, outcome: Outcome) -> Attributes:
    about: dict[str, str | int | float | bool] = {
        "messaging.message.id": _id(row),
        "messaging.kafka.message.key": (row.key or b"").decode("utf-8", "replace"),
    }
    for sent in outcome.sent:
        if sent.id == row.id:
            about["messaging.destination.partition.id"] = str(sent.partition)
            about["messaging.kafka.offset"] = sent.offset
    return about


def _id(row: Outgoing) -> str:
    return (dict(row.headers).get("ce_id") or b"").decode("ascii", "replace")
