"""Spans that are encoded by hand are, byte for byte of meaning, what OpenTelemetry's SDK makes of them."""

from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.span import TraceState

from chassis.telemetry.encoding import encode

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
VALUES = TEXT | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
ATTRIBUTES: st.SearchStrategy[Mapping[str, str | bool | int | float]] = st.dictionaries(
    TEXT, VALUES, max_size=4
)
CONTEXTS = st.builds(
    SpanContext,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
    st.sampled_from([TraceFlags(0), TraceFlags(1)]),
    st.sampled_from([None, TraceState([("vendor", "1")])]),
)
RESOURCE = Resource({"service.name": "fraud"})
LINKS = st.lists(st.builds(Link, CONTEXTS, st.none() | ATTRIBUTES), max_size=3)
SPANS = st.builds(
    ReadableSpan,
    TEXT,
    CONTEXTS,
    st.none() | CONTEXTS,
    st.sampled_from([RESOURCE, Resource({"service.name": "orders"})]),
    ATTRIBUTES,
    st.lists(st.builds(Event, TEXT, ATTRIBUTES, st.integers(0, 2**62)), max_size=2),
    LINKS,
    st.sampled_from(SpanKind),
    status=st.sampled_from([Status(), Status(StatusCode.ERROR, "no"), Status(StatusCode.OK)]),
    start_time=st.integers(1, 2**62),
    end_time=st.integers(1, 2**62),
    instrumentation_scope=st.sampled_from([InstrumentationScope("fanout"), InstrumentationScope("other")]),
)


@settings(max_examples=30, deadline=None)
@given(st.lists(SPANS, max_size=3, unique_by=lambda span: span.context and span.context.span_id))
def test_any_spans_are_encoded_as_the_sdk_encodes_them(spans: list[ReadableSpan]) -> None:
    assert ExportTraceServiceRequest.FromString(encode(spans)) == encode_spans(spans)


def test_values_that_are_equal_and_of_other_types_are_told_apart() -> None:
    context = SpanContext(1, 2, False)
    values = (True, 1, 1.0, False, 0, 0.0, -0.0)
    spans = [
        ReadableSpan("a", SpanContext(1, n + 1, False), context, RESOURCE, {"n": value})
        for n, value in enumerate(values)
    ]
    assert ExportTraceServiceRequest.FromString(encode(spans)) == encode_spans(spans)
