"""Spans of a process. Nothing is recorded, and OpenTelemetry is not imported, unless an OTLP endpoint is set.

The variables are OpenTelemetry's: OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT switch it on;
OTEL_SDK_DISABLED=true and OTEL_TRACES_EXPORTER=none switch it off; OTEL_TRACES_SAMPLER, OTEL_BSP_*, OTEL_SPAN_*,
OTEL_RESOURCE_ATTRIBUTES and the others of the SDK and of its exporter work as documented. FANOUT_TRACE_EVENTS says
whether a sampled event gets a `process` span of its own (each), or only a link from its batch's span (batch).
"""

import asyncio
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from chassis.telemetry.span import Attributes, Exemplar, Link, Span
from chassis.telemetry.trace_context import TraceContext

if TYPE_CHECKING:
    from chassis.telemetry.recorder import Recorder

SERVER, PRODUCER, CLIENT, CONSUMER = "SERVER", "PRODUCER", "CLIENT", "CONSUMER"
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

FLUSH_SECONDS = 2.0
"""How long a process that ends waits at most for its last spans to be sent."""

_recorder: "Recorder | None" = None
_has_span_per_event = True


def configure(service: str, process: str, instance: str, span_per_event: bool) -> None:
    """Begins to record spans, if the environment asks for it."""
    global _recorder, _has_span_per_event
    if is_wanted():
        from chassis.telemetry.recorder import Recorder

        _recorder, _has_span_per_event = Recorder(service, process, instance), span_per_event


def is_wanted() -> bool:
    """Returns True if the environment names an OTLP endpoint and does not switch traces off."""
    variable = {name: os.environ.get(name, "").strip() for name in (*ENDPOINTS, "OTEL_TRACES_EXPORTER")}
    is_disabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return (
        any(map(variable.get, ENDPOINTS)) and not is_disabled and variable["OTEL_TRACES_EXPORTER"] != "none"
    )


def is_on() -> bool:
    return _recorder is not None


def has_span_per_event() -> bool:
    return _has_span_per_event


def start(
    name: str,
    kind: str,
    parent: TraceContext | None = None,
    links: Sequence[Link] = (),
    attributes: Attributes | None = None,
    start_ns: int | None = None,
    always: bool = False,
) -> Span | None:
    """Starts a span, or returns None if the sampler or the parent's flag decides against it.

    `always` starts it whatever they say, in a trace of its own: then give no parent, but links.
    """
    if _recorder is None:
        return None
    return _recorder.start(name, kind, parent, links, attributes, start_ns, always)


def exemplar(span: Span | None) -> Exemplar | None:
    """Returns the labels by which a histogram names a span."""
    return {"trace_id": span.context.trace_id, "span_id": span.context.span_id} if span else None


async def shutdown(seconds: float) -> None:
    """Sends the spans that wait, and gives up after `seconds`."""
    global _recorder
    recorder, _recorder = _recorder, None
    if recorder:
        await asyncio.to_thread(recorder.shutdown, seconds)
