"""A real OTLP/HTTP endpoint for traces, in this process: it decodes what exporters send and keeps every span."""

import gzip
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

PATH = "/v1/traces"
PROTOBUF = "application/x-protobuf"
UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "identity": bytes,
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
}


@dataclass(frozen=True)
class Context:
    """The ids of a span in lower-case hexadecimal, as in a traceparent."""

    trace_id: str
    span_id: str

    @classmethod
    def of(cls, traceparent: str) -> "Context":
        """Reads a W3C traceparent of version 00."""
        _, trace_id, span_id, _ = traceparent.split("-")
        return cls(trace_id, span_id)


@dataclass(frozen=True)
class Span:
    """One span as it was received. `parent_id` is "" for a root; times are nanoseconds since 1970."""

    service: str
    name: str
    kind: str
    context: Context
    parent_id: str
    began: int
    ended: int
    attributes: dict[str, Any]
    links: list[Context]
    link_attributes: list[dict[str, Any]]
    status: str
    status_message: str
    exceptions: list[dict[str, Any]]
    resource: dict[str, Any]

    def __str__(self) -> str:
        links = f", {len(self.links)} links" if self.links else ""
        return f"{self.service}: {self.name} ({self.kind}) {self.context.span_id} in {self.parent_id or '-'}{links}"


@dataclass
class Received:
    """The spans received so far, safe to read while others arrive."""

    _spans: list[Span] = field(default_factory=list)
    requests: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def add(self, spans: Sequence[Span]) -> None:
        with self._changed:
            self._spans.extend(spans)
            self.requests += 1
            self._changed.notify_all()

    def clear(self) -> None:
        with self._changed:
            self._spans.clear()

    def all(self, name: str = "", service: str = "", **attributes: Any) -> list[Span]:
        """Returns the spans of that name, service and attributes in order of time; "__" in a name stands for "."."""
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}
        with self._changed:
            spans = list(self._spans)
        found = (
            span
            for span in spans
            if span.name == (name or span.name)
            and span.service == (service or span.service)
            and wanted.items() <= span.attributes.items()
        )
        return sorted(found, key=lambda span: span.began)

    def trace(self, trace_id: str) -> list[Span]:
        """Returns the spans of a trace in order of time."""
        return [span for span in self.all() if span.context.trace_id == trace_id]

    def by_context(self) -> dict[Context, Span]:
        """Returns every span by its ids. Fails if two spans have the same: an id was used twice."""
        spans = self.all()
        found = {span.context: span for span in spans}
        assert len(found) == len(spans), f"{len(spans) - len(found)} spans have the ids of another one"
        return found

    def linking_to(self, context: Context) -> list[Span]:
        return [span for span in self.all() if context in span.links]

    def wait(self, condition: Callable[[], Any], seconds: float = 30) -> Any:
        """Returns the first true answer of `condition`, asked again whenever spans arrive."""
        deadline = time.monotonic() + seconds
        while not (answer := condition()):
            left = deadline - time.monotonic()
            assert left > 0, f"still {answer!r} after {seconds} s with {len(self._spans)} spans: {condition}"
            with self._changed:
                self._changed.wait(min(left, 0.5))
        return answer


@dataclass(frozen=True)
class OtlpReceiver:
    """`endpoint` is the value of OTEL_EXPORTER_OTLP_ENDPOINT."""

    endpoint: str
    received: Received


@contextmanager
def otlp_receiver() -> Iterator[OtlpReceiver]:
    """Serves on a free port of 127.0.0.1 until the end."""
    received = Received()
    with otlp_endpoint(lambda body: received.add(decode(body))) as endpoint:
        yield OtlpReceiver(endpoint, received)


@contextmanager
def otlp_endpoint(keep: Callable[[bytes], object]) -> Iterator[str]:
    """Yields the address of an endpoint that calls `keep` with each request's unpacked body."""

    class Handler(_Handler):
        keep_body = staticmethod(keep)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """Answers as the protocol says: 200 with a response message, 404, 415, or 400 for what cannot be decoded."""

    protocol_version = "HTTP/1.1"
    keep_body: Callable[[bytes], object]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != PATH:
            self._answer(HTTPStatus.NOT_FOUND)
        elif self.headers.get("Content-Type") != PROTOBUF:
            self._answer(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        else:
            try:
                self.keep_body(UNPACK[self.headers.get("Content-Encoding", "")](body))
            except (DecodeError, OSError, zlib.error, KeyError):
                self._answer(HTTPStatus.BAD_REQUEST)
                return
            self._answer(HTTPStatus.OK)

    def _answer(self, status: HTTPStatus) -> None:
        body = ExportTraceServiceResponse().SerializeToString()
        self.send_response(status)
        self.send_header("Content-Type", PROTOBUF)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keeps requests out of the output of the tests."""


def decode(body: bytes) -> list[Span]:
    """Raises DecodeError."""
    request = ExportTraceServiceRequest.FromString(body)
    return [
        _span(span, _values(group.resource.attributes))
        for group in request.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]


def _span(span: trace_pb2.Span, resource: dict[str, Any]) -> Span:
    return Span(
        service=resource.get("service.name", ""),
        name=span.name,
        kind=trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        context=Context(span.trace_id.hex(), span.span_id.hex()),
        parent_id=span.parent_span_id.hex(),
        began=span.start_time_unix_nano,
        ended=span.end_time_unix_nano,
        attributes=_values(span.attributes),
        links=[Context(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        link_attributes=[_values(link.attributes) for link in span.links],
        status=trace_pb2.Status.StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_"),
        status_message=span.status.message,
        exceptions=[_values(event.attributes) for event in span.events if event.name == "exception"],
        resource=resource,
    )


def _values(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    if kind == "kvlist_value":
        return _values(value.kvlist_value.values)
    return getattr(value, kind) if kind else None
