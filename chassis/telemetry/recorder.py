"""Records spans with OpenTelemetry's SDK and exports them by OTLP over HTTP, in threads of its own.

Nothing waits for the collector: queues are bounded, and what does not fit is dropped. Spans with many links have a
queue of their own, which is short: one can take half a megabyte.
"""

import os
import socket
import threading
import time
import traceback
from collections.abc import Sequence

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.environment_variables import OTEL_SPAN_LINK_COUNT_LIMIT
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.span import TraceState

from chassis.masking import message_of, without_secrets
from chassis.telemetry.span import Attributes, Link
from chassis.telemetry.trace_context import TraceContext

MANY_LINKS = 10
LINKED_QUEUE, LINKED_EXPORT = 64, 16
"""How many spans with many links wait for their export, and are exported together."""
LARGEST_BATCH = 5_000
STACK_TRACE_CHARACTERS = 8_000
NO_ATTRIBUTES: Attributes = {}


class Recorder:
    """Starts spans. What must be recorded whatever the sampler says has a provider of its own."""

    def __init__(
        self, service: str, process: str, instance: str, processor: SpanProcessor | None = None
    ) -> None:
        detected = OTELResourceDetector().detect().attributes
        resource = Resource.create({**_resource(service, process, instance), **detected})
        self._processor = processor or _Queues()
        sampled = _provider(resource, self._processor, None)
        self._sampled = sampled.get_tracer("fanout")
        self._always = _provider(resource, self._processor, ALWAYS_ON).get_tracer("fanout")
        self._follows_parent = isinstance(sampled.sampler, ParentBased)

    def start(
        self,
        name: str,
        kind: str,
        parent: TraceContext | None,
        links: Sequence[Link],
        attributes: Attributes | None,
        start_ns: int | None,
        always: bool,
    ) -> "Span | None":
        """Starts a span, or returns None if it is not to be recorded."""
        if parent and self._follows_parent and not parent.is_sampled and not always:
            return None  # as the sampler would decide, for a tenth of the time
        around = trace.set_span_in_context(NonRecordingSpan(_to_sdk(parent))) if parent else NO_CONTEXT
        span = (self._always if always else self._sampled).start_span(
            name,
            around,
            SpanKind[kind],
            attributes,
            [trace.Link(_to_sdk(context), about) for context, about in links],
            start_ns,
        )
        return Span(span) if span.is_recording() else None

    def shutdown(self, seconds: float) -> None:
        """Exports what waits, and gives up after `seconds`."""
        if isinstance(self._processor, _Queues):
            self._processor.shutdown_within(seconds)


class Span:
    """A recorded span, with its context as it is stored and sent."""

    def __init__(self, span: trace.Span) -> None:
        own = span.get_span_context()
        self._context = TraceContext(
            trace.format_trace_id(own.trace_id),
            trace.format_span_id(own.span_id),
            own.trace_flags.sampled,
            own.trace_state.to_header() if own.trace_state else "",
            is_remote=False,
        )
        self._span = span

    @property
    def context(self) -> TraceContext:
        return self._context

    @property
    def trace_context(self) -> TraceContext:
        return self._context

    def set(self, attributes: Attributes) -> None:
        self._span.set_attributes(attributes)

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def exception(self, error: BaseException, attributes: Attributes = NO_ATTRIBUTES) -> None:
        """Adds the exception, without secrets."""
        stack = without_secrets("".join(traceback.format_exception(error)))
        about = {
            "exception.type": type(error).__name__,
            "exception.message": message_of(error),
            "exception.stacktrace": stack[-STACK_TRACE_CHARACTERS:],
        }
        self._span.add_event("exception", {**about, **attributes})

    def set_error(self, reason: str) -> None:
        self._span.set_status(Status(StatusCode.ERROR, reason))

    def set_ok(self) -> None:
        """Says that the exceptions were overcome."""
        self._span.set_status(Status(StatusCode.OK))

    def end(self, end_ns: int | None = None) -> None:
        self._span.end(end_ns)


class _Queues(SpanProcessor):
    """Puts each ended span into the queue for its size."""

    def __init__(self) -> None:
        self._exporters = OTLPSpanExporter(), OTLPSpanExporter()
        self._small = BatchSpanProcessor(self._exporters[0])
        self._linked = BatchSpanProcessor(
            self._exporters[1], max_queue_size=LINKED_QUEUE, max_export_batch_size=LINKED_EXPORT
        )

    def on_end(self, span: ReadableSpan) -> None:
        queue = self._linked if len(span.links) > MANY_LINKS else self._small
        queue.on_end(span)

    def shutdown_within(self, seconds: float) -> None:
        """Exports what waits. After `seconds` the retries end, and so does the waiting."""
        deadline = time.monotonic() + seconds
        closing = [
            threading.Thread(target=queue.shutdown, daemon=True) for queue in (self._small, self._linked)
        ]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join(max(deadline - time.monotonic(), 0.0))
        if any(thread.is_alive() for thread in closing):
            for exporter in self._exporters:
                exporter.shutdown()  # type: ignore[no-untyped-call]


NO_CONTEXT = trace.set_span_in_context(trace.INVALID_SPAN)


def _provider(resource: Resource, processor: SpanProcessor, sampler: Sampler | None) -> TracerProvider:
    links = None if os.environ.get(OTEL_SPAN_LINK_COUNT_LIMIT) else LARGEST_BATCH
    provider = TracerProvider(
        sampler, resource, shutdown_on_exit=False, span_limits=SpanLimits(max_links=links)
    )
    provider.add_span_processor(processor)
    return provider


def _resource(service: str, process: str, instance: str) -> dict[str, str]:
    name = instance or f"{service}-{process}"
    return {
        "service.name": service,
        "service.namespace": "fanout",
        "service.instance.id": f"{name}@{socket.gethostname()}:{os.getpid()}",
        "fanout.process": process,
    }


def _to_sdk(context: TraceContext) -> SpanContext:
    return SpanContext(
        int(context.trace_id, 16),
        int(context.span_id, 16),
        is_remote=context.is_remote,
        trace_flags=TraceFlags(context.is_sampled),
        trace_state=TraceState.from_header([context.tracestate]) if context.tracestate else None,
    )
