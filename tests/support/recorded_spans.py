"""The spans that this process records, kept in memory: for tests that need no collector."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import format_span_id, format_trace_id

from chassis.telemetry import traces
from chassis.telemetry.recorder import Recorder
from chassis.telemetry.trace_context import TraceContext


class RecordedSpans:
    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def all(self, name: str = "", **attributes: Any) -> Sequence[ReadableSpan]:
        """Returns the ended spans of that name with these attributes; "__" stands for "." in them."""
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}
        return [
            span
            for span in self._exporter.get_finished_spans()
            if span.name == (name or span.name) and wanted.items() <= dict(span.attributes or {}).items()
        ]

    def one(self, name: str, **attributes: Any) -> ReadableSpan:
        [span] = self.all(name, **attributes)
        return span


@contextmanager
def recorded_spans(span_per_event: bool = True) -> Iterator[RecordedSpans]:
    """Records every span that the variables of the sampler allow, until the end."""
    exporter = InMemorySpanExporter()
    before = traces._recorder, traces._has_span_per_event
    traces._recorder = Recorder("fraud", "worker", "", SimpleSpanProcessor(exporter))
    traces._has_span_per_event = span_per_event
    try:
        yield RecordedSpans(exporter)
    finally:
        traces._recorder, traces._has_span_per_event = before


def context_of(span: ReadableSpan) -> tuple[str, str]:
    """Returns trace id and span id."""
    return _ids(span.get_span_context())


def parent_of(span: ReadableSpan) -> tuple[str, str] | None:
    return _ids(span.parent) if span.parent else None


def links_of(span: ReadableSpan) -> list[tuple[str, str]]:
    return [_ids(link.context) for link in span.links]


def ids(context: TraceContext) -> tuple[str, str]:
    return context.trace_id, context.span_id


def _ids(context: Any) -> tuple[str, str]:
    return format_trace_id(context.trace_id), format_span_id(context.span_id)
