"""The receiver of `fanout up --observe`: spans that the real SDK sends arrive at Zipkin, with their links.

Zipkin is a server that keeps what is posted; tests/system/test_observe.py has the real one.
"""

import gzip
import http.client
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Link, SpanContext, SpanKind, Tracer

from fanout.observe.receiver import LARGEST_BODY, PROTOBUF, TRACES, Receiver

STORED = SpanContext(0xA1, 0xB2, is_remote=True)
TWIN = SpanContext(0xA1, 0xB3, is_remote=True)
OTHER = SpanContext(0xA2, 0xB4, is_remote=True)


class Zipkin(BaseHTTPRequestHandler):
    status = 202
    spans: list[dict[str, Any]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert (self.path, self.headers["Content-Encoding"]) == ("/api/v2/spans", "gzip")
        if self.status == 202:
            self.spans.extend(json.loads(gzip.decompress(body)))
        self._answer(self.status)

    def do_GET(self) -> None:
        self._answer(200 if self.path == "/health" else 404)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def zipkin(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Zipkin]]:
    monkeypatch.setattr(Zipkin, "spans", [])
    with ThreadingHTTPServer(("127.0.0.1", 0), Zipkin) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        monkeypatch.setattr(Receiver, "zipkin", f"http://127.0.0.1:{server.server_port}")
        yield Zipkin
        server.shutdown()


@pytest.fixture
def port(zipkin: type[Zipkin]) -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture(params=[Compression.NoCompression, Compression.Gzip], ids=str)
def tracer(port: int, request: pytest.FixtureRequest) -> Iterator[Tracer]:
    exporter = OTLPSpanExporter(f"http://127.0.0.1:{port}{TRACES}", compression=request.param, timeout=5)
    resource = Resource.create({"service.name": "payments", "service.instance.id": "payments-worker-2"})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider.get_tracer("test")
    provider.shutdown()


def test_a_span_arrives_with_kind_parent_names_and_attributes(tracer: Tracer, zipkin: type[Zipkin]) -> None:
    with tracer.start_as_current_span("POST /orders", kind=SpanKind.SERVER) as parent:
        attributes: dict[str, Any] = {
            "messaging.system": "kafka",
            "fanout.parked": True,
            "offsets": [1, 2],
            "seconds": 0.5,
        }
        with tracer.start_as_current_span("create orders", kind=SpanKind.PRODUCER, attributes=attributes):
            pass
    child, root = zipkin.spans
    assert root["traceId"] == child["traceId"] == f"{parent.get_span_context().trace_id:032x}"
    assert child["parentId"] == root["id"] and "parentId" not in root
    assert (root["name"], root["kind"], child["kind"]) == ("POST /orders", "SERVER", "PRODUCER")
    assert child["localEndpoint"] == {"serviceName": "payments"}
    assert child["remoteEndpoint"] == {"serviceName": "kafka"}
    assert child["tags"] == {
        "service.instance.id": "payments-worker-2",
        "messaging.system": "kafka",
        "fanout.parked": "true",
        "offsets": "[1, 2]",
        "seconds": "0.5",
    }
    assert root["timestamp"] <= child["timestamp"] and 0 < child["duration"] <= root["duration"]


def test_links_are_tags_that_a_search_for_the_linked_trace_finds(
    tracer: Tracer, zipkin: type[Zipkin]
) -> None:
    tracer.start_span("process orders", links=[Link(STORED), Link(OTHER), Link(TWIN)]).end()
    [span] = zipkin.spans
    linked = {name: value for name, value in span["tags"].items() if name.startswith("link.")}
    assert linked == {f"link.{0xA1:032x}": f"{0xB2:016x}, {0xB3:016x}", f"link.{0xA2:032x}": f"{0xB4:016x}"}


def test_a_failure_is_an_error_and_its_exception_an_annotation(tracer: Tracer, zipkin: type[Zipkin]) -> None:
    with pytest.raises(ValueError, match="no such order"), tracer.start_as_current_span("process orders"):
        raise ValueError("no such order")
    [span] = zipkin.spans
    assert span["tags"]["error"] == "ValueError: no such order"
    [annotation] = span["annotations"]
    assert annotation["value"].startswith("exception {") and "no such order" in annotation["value"]


def test_a_sender_is_told_to_try_again_while_zipkin_refuses_and_nothing_is_lost(
    port: int, zipkin: type[Zipkin], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Zipkin, "status", 500)
    body = one_span()
    assert post(port, body) == 503 and zipkin.spans == []
    monkeypatch.setattr(Zipkin, "status", 202)
    assert post(port, body) == 200 and len(zipkin.spans) == 1


def test_the_receiver_is_ready_exactly_while_zipkin_answers(
    port: int, zipkin: type[Zipkin], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ask(port, "GET", "/health/ready") == 200
    monkeypatch.setattr(Receiver, "zipkin", "http://127.0.0.1:9")
    assert ask(port, "GET", "/health/ready") == 503
    assert post(port, one_span()) == 503


@pytest.mark.parametrize(
    ("body", "headers", "path", "status"),
    [
        (b"\xff\xff", {}, TRACES, 400),
        (b"", {}, "/v1/metrics", 404),
        (b"{}", {"Content-Type": "application/json"}, TRACES, 415),
        (b"", {"Content-Encoding": "br"}, TRACES, 415),
        (b"no gzip", {"Content-Encoding": "gzip"}, TRACES, 400),
        (gzip.compress(b"")[:-4], {"Content-Encoding": "gzip"}, TRACES, 400),
        (gzip.compress(bytes(LARGEST_BODY + 1)), {"Content-Encoding": "gzip"}, TRACES, 413),
        (b"", {"Content-Length": str(LARGEST_BODY + 1)}, TRACES, 413),
        (b"", {"Content-Length": "all"}, TRACES, 411),
    ],
)
def test_what_is_no_trace_is_refused_and_not_asked_for_again(
    port: int, zipkin: type[Zipkin], body: bytes, headers: dict[str, str], path: str, status: int
) -> None:
    assert post(port, body, headers, path) == status
    assert zipkin.spans == []


def one_span() -> bytes:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add()
    span.trace_id, span.span_id, span.name = bytes([1]) * 16, bytes([2]) * 8, "POST /orders"
    return bytes(request.SerializeToString())


def post(port: int, body: bytes, headers: dict[str, str] | None = None, path: str = TRACES) -> int:
    return ask(port, "POST", path, body, {"Content-Type": PROTOBUF} | (headers or {}))


def ask(port: int, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path, body, headers or {})
        return connection.getresponse().status
    finally:
        connection.close()
