"""The headers of messages as JSON Schema: which there are is read from the code that writes them."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from chassis.events.dead_letter import DLQ_HEADERS, REDRIVE_HEADERS
from chassis.events.dead_letter_size import VALUE_OMITTED
from chassis.outbox.publish import _cloudevents_headers
from chassis.telemetry.trace_context import VERSION_00, TraceContext
from docs.contracts.examples import EVENT_ID, ORDER_ID, PUBLISHED_AT, TRACEPARENT
from schemas import Event

DESCRIPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "ce_specversion": "The version of CloudEvents.",
        "ce_id": "The event's id, a UUIDv7. It stays the same in every delivery and redrive: deduplicate by it.",
        "ce_type": "The event type, by which consumers choose a handler.",
        "ce_source": "The topic's path; with ce_id it identifies the event.",
        "ce_subject": "The id of the aggregate, equal to the message key.",
        "ce_time": "When the event was published. The payload's occurred_at says when it happened.",
        "content-type": "The media type of the value, which is framed in Confluent's wire format.",
        "traceparent": "The span in which the event was created (W3C Trace Context); later copies keep it.",
        "tracestate": "What other tracing systems add to it (W3C Trace Context), if the request had it.",
        "dlq_topic": "The topic in which the record was first read.",
        "dlq_partition": "Its partition there.",
        "dlq_kafka_offset": "Its offset there.",
        "dlq_record_at": "Its timestamp there.",
        "dlq_attempts": "How often it has failed, with the attempts before redrives.",
        "dlq_first_failed_at": "When it failed for the first time.",
        "dlq_redrive": "How often it was redriven. The inbox takes a parked event up once for each count.",
        "dlq_consumer": "The consumer group that parked it.",
        "dlq_failure": "The class of the failure, such as permanent.",
        "dlq_error_type": "The name of the exception.",
        "dlq_error_message": "The message of the exception, shortened.",
        "dlq_last_failed_at": "When it failed for the last time.",
        "dlq_value_omitted": "The size in bytes of a value that was too large to send; it stays in the table parked.",
    }
)
VARYING: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "ce_id": {"format": "uuid"},
        "ce_subject": {},
        "ce_time": {"format": "date-time"},
        "tracestate": {},
        "traceparent": {"pattern": VERSION_00},
    }
)
OPTIONAL = ("tracestate",)
CONTEXT = TraceContext("ab" * 16, "cd" * 8, is_sampled=True, tracestate="vendor=value")
OF_ITS_TYPE = ("ce_type", "ce_source")
"""These headers have one value for each event type."""
EXAMPLES: Mapping[str, str] = MappingProxyType(
    {
        "ce_id": EVENT_ID,
        "ce_subject": ORDER_ID,
        "ce_time": PUBLISHED_AT,
        "traceparent": TRACEPARENT,
        "dlq_topic": "orders",
        "dlq_partition": "3",
        "dlq_kafka_offset": "1042",
        "dlq_record_at": "2026-03-01T12:00:00.250000+00:00",
        "dlq_attempts": "1",
        "dlq_first_failed_at": "2026-03-01T12:00:00.500000+00:00",
        "dlq_redrive": "0",
        "dlq_consumer": "fraud",
        "dlq_failure": "permanent",
        "dlq_error_type": "Undecodable",
        "dlq_error_message": "a value of 3 bytes is too short for an event",
        "dlq_last_failed_at": "2026-03-01T12:00:00.500000+00:00",
    }
)
ALL_EVENTS = "CloudEventsHeaders"


class UndescribedHeader(LookupError):
    """A header is written that the documents do not describe; the message names it."""


def cloudevents_headers(event: Event) -> dict[str, Any]:
    """Returns the schema of the headers that all events have. Raises UndescribedHeader."""
    written = _cloudevents_headers(event, EVENT_ID, CONTEXT)
    required = [name for name in written if name not in OPTIONAL]
    return _object(required, {name: _of_all_events(name, value) for name, value in written.items()})


def _of_all_events(name: str, value: str) -> dict[str, Any]:
    if name in OF_ITS_TYPE:
        return {}
    return dict(VARYING[name]) if name in VARYING else {"const": value}


def headers_of_type(event: Event) -> dict[str, Any]:
    """Returns the schema of the event's headers: those of all events, with what is constant for its type."""
    written = _cloudevents_headers(event, EVENT_ID, CONTEXT)
    constants = {name: {"const": written[name]} for name in OF_ITS_TYPE}
    return {"allOf": [{"$ref": f"#/components/schemas/{ALL_EVENTS}"}, {"properties": constants}]}


def example_headers(event: Event) -> dict[str, str]:
    """Returns the headers that `publish` writes, with fixed values in place of those that differ in each run."""
    written = _cloudevents_headers(event, EVENT_ID, CONTEXT)
    return {name: EXAMPLES.get(name, value) for name, value in written.items() if name not in OPTIONAL}


def dead_letter_headers() -> dict[str, Any]:
    """Returns the schema of the headers that follow a dead letter's own. Raises UndescribedHeader."""
    return _object(DLQ_HEADERS, {name: {} for name in (*DLQ_HEADERS, VALUE_OMITTED)})


def redrive_headers() -> dict[str, Any]:
    """Returns the schema of the headers that follow a redriven record's own. Raises UndescribedHeader."""
    return _object(REDRIVE_HEADERS, {name: {} for name in REDRIVE_HEADERS})


def example_dead_letter_headers(names: Iterable[str]) -> dict[str, str]:
    return {name: EXAMPLES[name] for name in names}


def _object(required: Iterable[str], properties: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    if undescribed := sorted(properties.keys() - DESCRIPTIONS.keys()):
        raise UndescribedHeader(f"describe the header {undescribed[0]} in docs/contracts/headers.py")
    described = {
        name: {"type": "string", **schema, "description": DESCRIPTIONS[name]}
        for name, schema in properties.items()
    }
    return {"type": "object", "required": list(required), "properties": described}
