"""Records spans with OpenTelemetry's SDK and exports them by OTLP over HTTP, in threads of its own.

Nothing waits for the collector: queues are bounded, and what does not fit is dropped. Spans with many links have a
queue of their own, which is short: one can take half a megabyte.

Sampler, limits, resource, queues and export are the SDK's, with their variables. A span itself is made here: the
SDK's takes 30 µs with its locks and checks, and a consumer has 60 for an event.
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
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, ParentBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.span import TraceState

from chassis.masking import message_of, without_secrets
from chassis.telemetry.encoding import encode
from chassis.telemetry.span import Attributes, Link
from chassis.telemetry.trace_context import TraceContext

MANY_LINKS = 10
LINKED_QUEUE, LINKED_EXPORT = 64, 16
"""How many spans with many links wait for their export, and are exported together."""
LARGEST_BATCH = 5_000
STACK_TRACE_CHARACTERS = 8_000
NO_ATTRIBUTES: Attributes = {}
NO_CONTEXT = trace.set_span_in_context(trace.INVALID_SPAN)
SCOPE = InstrumentationScope("fanout")
UNSET = Status()


class Recorder:
    """Starts spans, if the sampler wants them or if they must be recorded whatever it says."""

    def __init__(
        self, service: str, process: str, instance: str, processor: SpanProcessor | None = None
    ) -> None:
        detected = OTELResourceDetector().detect().attributes
        self.resource = Resource.create({**_resource(service, process, instance), **detected})
        self.processor = processor or _Queues()
        self.limits = SpanLimits(
            max_links=None if OTEL_SPAN_LINK_COUNT_LIMIT in os.environ else LARGEST_BATCH
        )
        self._sampler = TracerProvider(shutdown_on_exit=False).sampler
        self._follows_parent = isinstance(self._sampler, ParentBased)
        self._ids = RandomIdGenerator()

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
        trace_id = int(parent.trace_id, 16) if parent else self._ids.generate_trace_id()
        of_parent = _to_sdk(parent) if parent else None
        if not always and not self._is_sampled(name, kind, parent, of_parent, trace_id):
            return None
        span_id = self._ids.generate_span_id()
        state = of_parent.trace_state if of_parent else None
        own = SpanContext(trace_id, span_id, False, SAMPLED, state)
        kept = [trace.Link(_to_sdk(context), about) for context, about in links[: self.limits.max_links]]
        return Span(self, name, SpanKind[kind], own, of_parent, kept, dict(attributes or {}), start_ns)

    def _is_sampled(
        self, name: str, kind: str, parent: TraceContext | None, of_parent: SpanContext | None, trace_id: int
    ) -> bool:
        if parent and self._follows_parent:
            return parent.is_sampled  # as the sampler would decide
        around = trace.set_span_in_context(NonRecordingSpan(of_parent)) if of_parent else NO_CONTEXT
        decided = self._sampler.should_sample(around, trace_id, name, SpanKind[kind]).decision
        return decided is Decision.RECORD_AND_SAMPLE

    def shutdown(self, seconds: float) -> None:
        """Exports what waits, and gives up after `seconds`."""
        if isinstance(self.processor, _Queues):
            self.processor.shutdown_within(seconds)


class Span:
    """A span that is being recorded, with its context as it is stored and sent."""

    def __init__(
        self,
        recorder: Recorder,
        name: str,
        kind: SpanKind,
        own: SpanContext,
        parent: SpanContext | None,
        links: Sequence[trace.Link],
        attributes: dict[str, str | int | float | bool],
        start_ns: int | None,
    ) -> None:
        self.context = TraceContext(
            f"{own.trace_id:032x}",
            f"{own.span_id:016x}",
            True,
            own.trace_state.to_header() if own.trace_state else "",
            is_remote=False,
        )
        self._recorder = recorder
        self._name = name
        self._kind = kind
        self._own = own
        self._parent = parent
        self._links = links
        self._attributes = attributes
        self._events: list[Event] = []
        self._status = UNSET
        self._start_ns = start_ns or time.time_ns()

    @property
    def trace_context(self) -> TraceContext:
        return self.context

    def set(self, attributes: Attributes) -> None:
        self._attributes.update(attributes)

    def rename(self, name: str) -> None:
        self._name = name

    def exception(self, error: BaseException, attributes: Attributes = NO_ATTRIBUTES) -> None:
        """Adds the exception, without secrets."""
        stack = without_secrets("".join(traceback.format_exception(error)))
        about = {
            "exception.type": type(error).__name__,
            "exception.message": message_of(error),
            "exception.stacktrace": stack[-STACK_TRACE_CHARACTERS:],
        }
        if len(self._events) < (self._recorder.limits.max_events or 0):
            self._events.append(Event("exception", self._limited({**about, **attributes})))

    def set_error(self, reason: str) -> None:
        self._status = Status(StatusCode.ERROR, reason)

    def set_ok(self) -> None:
        """Says that the exceptions were overcome."""
        self._status = Status(StatusCode.OK)

    def end(self, end_ns: int | None = None) -> None:
        span = ReadableSpan(
            self._name,
            self._own,
            self._parent,
            self._recorder.resource,
            self._limited(self._attributes),
            self._events,
            self._links,
            self._kind,
            status=self._status,
            start_time=self._start_ns,
            end_time=end_ns or time.time_ns(),
            instrumentation_scope=SCOPE,
        )
        self._recorder.processor.on_end(span)

    def _limited(self, attributes: Attributes) -> Attributes:
        """Cuts texts to the length that OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT allows."""
        longest = self._recorder.limits.max_span_attribute_length
        if longest is None:
            return attributes
        return {
            name: value[:longest] if isinstance(value, str) else value for name, value in attributes.items()
        }


class _Exporter(OTLPSpanExporter):
    """Sends as the SDK does, with its variables and retries, what is encoded for less."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        sent = self._client.export(encode(spans)).success
        return SpanExportResult.SUCCESS if sent else SpanExportResult.FAILURE

    def stop_retrying(self) -> None:
        """Ends the waiting for another try, and lets each batch that is still to be sent be tried once."""
        self._client._shutdown_event.set()


class _Queues(SpanProcessor):
    """Puts each ended span into the queue for its size."""

    def __init__(self) -> None:
        self._exporters = _Exporter(), _Exporter()
        self._small = BatchSpanProcessor(self._exporters[0])
        self._linked = BatchSpanProcessor(
            self._exporters[1], max_queue_size=LINKED_QUEUE, max_export_batch_size=LINKED_EXPORT
        )

    def on_end(self, span: ReadableSpan) -> None:
        queue = self._linked if len(span.links) > MANY_LINKS else self._small
        queue.on_end(span)

    def shutdown_within(self, seconds: float) -> None:
        """Exports what waits, each batch in one try, and waits for that no longer than `seconds`."""
        deadline = time.monotonic() + seconds
        for exporter in self._exporters:
            exporter.stop_retrying()
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


def _resource(service: str, process: str, instance: str) -> dict[str, str]:
    name = instance or f"{service}-{process}"
    return {
        "service.name": service,
        "service.namespace": "fanout",
        "service.instance.id": f"{name}@{socket.gethostname()}:{os.getpid()}",
        "fanout.process": process,
    }


SAMPLED, NOT_SAMPLED = TraceFlags(TraceFlags.SAMPLED), TraceFlags(TraceFlags.DEFAULT)


def _to_sdk(context: TraceContext) -> SpanContext:
    return SpanContext(
        int(context.trace_id, 16),
        int(context.span_id, 16),
        context.is_remote,
        SAMPLED if context.is_sampled else NOT_SAMPLED,
        TraceState.from_header([context.tracestate]) if context.tracestate else None,
    )
