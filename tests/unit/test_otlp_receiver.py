"""What the real exporter of the SDK sends is what the receiver of the tests says it got."""

import http.client
from collections.abc import Iterator

import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanKind, Tracer

from tests.support.otlp_receiver import PATH, PROTOBUF, Context, OtlpReceiver, otlp_receiver


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with otlp_receiver() as receiver:
        yield receiver


@pytest.fixture(params=Compression)
def provider(receiver: OtlpReceiver, request: pytest.FixtureRequest) -> Iterator[TracerProvider]:
    provider = TracerProvider(resource=Resource.create({"service.name": "fraud", "service.instance.id": "7"}))
    exporter = OTLPSpanExporter(endpoint=receiver.endpoint + PATH, compression=request.param)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    yield provider
    provider.shutdown()


@pytest.fixture
def tracer(provider: TracerProvider) -> Tracer:
    return provider.get_tracer("a test")


def test_every_field_of_a_span_arrives(
    receiver: OtlpReceiver, provider: TracerProvider, tracer: Tracer
) -> None:
    with tracer.start_as_current_span("create orders", kind=SpanKind.PRODUCER) as created:
        pass
    link = Link(created.get_span_context(), {"messaging.kafka.offset": 7})
    with (
        pytest.raises(ValueError),
        tracer.start_as_current_span("outer"),
        tracer.start_as_current_span("process orders", kind=SpanKind.CONSUMER, links=[link]) as inner,
    ):
        inner.set_attributes(
            {"messaging.system": "kafka", "fanout.redrive": 2, "fanout.replayed": True, "list": ["a", "b"]}
        )
        raise ValueError("no stock")
    assert provider.force_flush()

    first, outer, span = receiver.received.all()
    assert (first.name, first.kind, first.parent_id, first.links) == ("create orders", "PRODUCER", "", [])
    assert first.status == "UNSET" and first.exceptions == []
    assert (span.service, span.name, span.kind) == ("fraud", "process orders", "CONSUMER")
    assert span.context == Context(
        f"{inner.get_span_context().trace_id:032x}", f"{inner.get_span_context().span_id:016x}"
    )
    assert span.parent_id == outer.context.span_id
    assert span.links == [first.context] and span.link_attributes == [{"messaging.kafka.offset": 7}]
    assert span.attributes == {
        "messaging.system": "kafka",
        "fanout.redrive": 2,
        "fanout.replayed": True,
        "list": ["a", "b"],
    }
    assert (span.status, span.status_message) == ("ERROR", "ValueError: no stock")
    assert span.exceptions[0]["exception.message"] == "no stock"
    assert span.resource["service.instance.id"] == "7"
    assert outer.began <= span.began < span.ended <= outer.ended


def test_spans_are_found_by_name_attribute_trace_and_link(
    receiver: OtlpReceiver, provider: TracerProvider, tracer: Tracer
) -> None:
    with tracer.start_as_current_span("one") as one:
        one.set_attribute("fanout.order_id", "o-1")
    with tracer.start_as_current_span("two", links=[Link(one.get_span_context())]):
        pass
    provider.force_flush()

    received = receiver.received
    [first] = received.all("one")
    [second] = received.all("two", service="fraud")
    assert received.all(fanout__order_id="o-1") == [first] and not received.all(fanout__order_id="o-2")
    assert received.all(service="orders") == []
    assert received.trace(first.context.trace_id) == [first]
    assert received.linking_to(first.context) == [second]
    assert received.by_context() == {first.context: first, second.context: second}
    with pytest.raises(AssertionError, match="after 0 s with 2 spans"):
        received.wait(lambda: received.all("three"), seconds=0)


@pytest.mark.parametrize(
    ("path", "content", "encoding", "body", "status"),
    [
        (PATH, PROTOBUF, "", b"", 200),
        ("/v1/logs", PROTOBUF, "", b"", 404),
        (PATH, "application/json", "", b"{}", 415),
        (PATH, PROTOBUF, "", b"\xff\xff", 400),
        (PATH, PROTOBUF, "gzip", b"not packed", 400),
        (PATH, PROTOBUF, "br", b"", 400),
    ],
)
def test_what_is_no_export_of_traces_is_refused(
    receiver: OtlpReceiver, path: str, content: str, encoding: str, body: bytes, status: int
) -> None:
    connection = http.client.HTTPConnection(receiver.endpoint.removeprefix("http://"), timeout=5)
    headers = {"Content-Type": content} | ({"Content-Encoding": encoding} if encoding else {})
    connection.request("POST", path, body, headers)
    assert connection.getresponse().status == status
    assert receiver.received.all() == []
    connection.close()
