"""Turns spans of OpenTelemetry (OTLP) into those of Zipkin, with their links, for which Zipkin has no field."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

KINDS = {
    Span.SPAN_KIND_SERVER: "SERVER",
    Span.SPAN_KIND_CLIENT: "CLIENT",
    Span.SPAN_KIND_PRODUCER: "PRODUCER",
    Span.SPAN_KIND_CONSUMER: "CONSUMER",
}
LINK = "link."
"""Begins the tag of a linked trace, so that a search for `link.` and a trace's id finds every span that links to it."""
SERVICE = "service.name"
PEERS = ("peer.service", "messaging.system")
"""The attributes that name the other side of a span; Zipkin draws its map of dependencies from it."""
SDK = "telemetry."
"""Attributes of a resource that are the same for all services."""


def translated(exported: ExportTraceServiceRequest) -> list[dict[str, Any]]:
    """Returns Zipkin's JSON (v2) of every span."""
    return [
        _span(span, values(resource.resource.attributes))
        for resource in exported.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _span(span: Span, resource: dict[str, str]) -> dict[str, Any]:
    began, attributes = span.start_time_unix_nano // 1000, values(span.attributes)
    found: dict[str, Any] = {
        "traceId": span.trace_id.hex(),
        "id": span.span_id.hex(),
        "name": span.name,
        "timestamp": began,
        "duration": max(span.end_time_unix_nano // 1000 - began, 1),
        "localEndpoint": {"serviceName": resource.get(SERVICE, "unknown")},
        "tags": {**_of_process(resource), **attributes, **_outcome(span), **dict(_links(span))},
        "annotations": [
            {"timestamp": event.time_unix_nano // 1000, "value": _event(event)} for event in span.events
        ],
    }
    if any(span.parent_span_id):
        found["parentId"] = span.parent_span_id.hex()
    if span.kind in KINDS:
        found["kind"] = KINDS[span.kind]
    if peer := next((attributes[name] for name in PEERS if name in attributes), ""):
        found["remoteEndpoint"] = {"serviceName": peer}
    return found


def _of_process(resource: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in resource.items() if name != SERVICE and not name.startswith(SDK)}


def _outcome(span: Span) -> dict[str, str]:
    """Returns the tag `error`, by which Zipkin shows a span in red, if it failed."""
    if span.status.code != Status.STATUS_CODE_ERROR:
        return {}
    return {"error": span.status.message or "error"}


def _links(span: Span) -> Iterator[tuple[str, str]]:
    """Yields a tag for each linked trace, with the ids of the spans in it that are linked."""
    linked: dict[str, list[str]] = defaultdict(list)
    for link in span.links:
        linked[link.trace_id.hex()].append(link.span_id.hex())
    for trace, spans in linked.items():
        yield f"{LINK}{trace}", ", ".join(spans)


def _event(event: Span.Event) -> str:
    """Returns the name, and as JSON the attributes, such as those of an exception."""
    attributes = values(event.attributes)
    return f"{event.name} {json.dumps(attributes)}" if attributes else event.name


def values(attributes: Iterable[KeyValue]) -> dict[str, str]:
    """Returns attributes as text, by name."""
    return {each.key: text(each.value) for each in attributes}


def text(value: AnyValue) -> str:
    """Returns a value as text, and a list or a map of values as JSON."""
    plain = _plain(value)
    return plain if isinstance(plain, str) else json.dumps(plain)


def _plain(value: AnyValue) -> Any:
    match value.WhichOneof("value"):
        case "array_value":
            return [_plain(each) for each in value.array_value.values]
        case "kvlist_value":
            return {each.key: _plain(each.value) for each in value.kvlist_value.values}
        case "bytes_value":
            return value.bytes_value.hex()
        case None:
            return ""
        case kind:
            return getattr(value, kind)
