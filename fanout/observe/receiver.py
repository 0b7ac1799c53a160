"""`python -m fanout.observe.receiver PORT ZIPKIN`: takes traces as OTLP over HTTP, and hands them to a Zipkin.

Keeps nothing: a sender is answered when Zipkin has its spans, and 503, after which it tries again, when it has not.
"""

import gzip
import http.client
import json
import signal
import sys
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NoReturn
from urllib.parse import urlsplit

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from fanout.local.ports import HOST
from fanout.observe.zipkin import translated

TRACES, READY = "/v1/traces", "/health/ready"
PROTOBUF = "application/x-protobuf"
LARGEST_BODY = 16 * 1024 * 1024
"""Bytes, as sent and unpacked. A batch of OpenTelemetry's exporter has 512 spans, which are below one megabyte."""
ANSWER_SECONDS = 5


class Refused(Exception):
    """A request that will be refused again, however often it is sent."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Receiver(BaseHTTPRequestHandler):
    zipkin = ""
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_POST(self) -> None:
        try:
            spans = translated(self._exported())
        except Refused as refused:
            self.close_connection = True
            self._answer(refused.status, str(refused).encode(), "text/plain")
            return
        if not spans or _ask(self.zipkin, "POST", "/api/v2/spans", json.dumps(spans).encode()) == 202:
            self._answer(200, ExportTraceServiceResponse().SerializeToString(), PROTOBUF)
        else:
            self._answer(503, b"the trace viewer does not take spans now", "text/plain")

    def do_GET(self) -> None:
        if self.path != READY:
            self._answer(404, b"traces are sent to " + TRACES.encode(), "text/plain")
        elif _ask(self.zipkin, "GET", "/health") == 200:
            self._answer(200, b"ready", "text/plain")
        else:
            self._answer(503, b"the trace viewer does not answer", "text/plain")

    def _exported(self) -> ExportTraceServiceRequest:
        if self.path != TRACES:
            raise Refused(404, f"only traces are taken, at {TRACES}")
        if self.headers.get_content_type() != PROTOBUF:
            raise Refused(415, f"only {PROTOBUF} is taken: OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise Refused(411, "a request needs its Content-Length")
        if int(length) > LARGEST_BODY:
            raise Refused(413, f"more than {LARGEST_BODY} bytes")
        try:
            exported = ExportTraceServiceRequest()
            exported.ParseFromString(self._unpacked(self.rfile.read(int(length))))
            return exported
        except (DecodeError, OSError, EOFError, zlib.error) as error:
            raise Refused(400, f"no spans of OpenTelemetry: {type(error).__name__}") from error

    def _unpacked(self, body: bytes) -> bytes:
        coding = self.headers.get("Content-Encoding", "identity")
        if coding not in ("gzip", "identity"):
            raise Refused(415, f"the content encoding {coding} is not taken, gzip is")
        if coding == "identity":
            return body
        unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        found = unpacker.decompress(body, LARGEST_BODY)
        if unpacker.unconsumed_tail:
            raise Refused(413, f"more than {LARGEST_BODY} bytes, unpacked")
        if not unpacker.eof:
            raise EOFError
        return found

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Logs no requests."""


def _ask(zipkin: str, method: str, path: str, body: bytes | None = None) -> int:
    """Returns Zipkin's status, or 0 if it does not answer."""
    place = urlsplit(zipkin)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=ANSWER_SECONDS)
    try:
        packed = gzip.compress(body, 1) if body else None
        kind = {"Content-Type": "application/json", "Content-Encoding": "gzip"} if body else {}
        connection.request(method, path, packed, kind)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def main() -> None:
    signal.signal(signal.SIGTERM, _end)
    port, Receiver.zipkin = int(sys.argv[1]), sys.argv[2]
    ThreadingHTTPServer((HOST, port), Receiver).serve_forever()


def _end(*_: object) -> NoReturn:
    sys.exit(0)


if __name__ == "__main__":
    main()
