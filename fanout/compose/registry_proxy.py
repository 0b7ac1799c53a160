"""`python -m fanout.compose.registry_proxy PORT REGISTRY`: a read-only proxy before a registry that knows no users.

It passes on GET and HEAD, and the POSTs that change nothing: the look-up of a schema's id, and the question whether a
schema would be compatible. All else is a 403.
"""

import http.client
import re
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NoReturn
from urllib.parse import urlsplit

READ = re.compile(r"/apis/ccompat/v7/[A-Za-z0-9_./-]*(\?[A-Za-z0-9_=&.-]*)?")
QUESTION = re.compile(
    r"/apis/ccompat/v7/(subjects/[A-Za-z0-9_.-]+|compatibility/subjects/[A-Za-z0-9_.-]+/versions(\?[A-Za-z0-9_=&]*)?)"
)
READY = "/health/ready"
LARGEST_QUESTION = 256 * 1024
ANSWER_SECONDS = 3


class RegistryProxy(BaseHTTPRequestHandler):
    registry = ""
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        if self.path == READY:
            self._pass_on(b"", "/apis/ccompat/v7/subjects")
        elif READ.fullmatch(self.path) and ".." not in self.path:
            self._pass_on(b"", self.path)
        else:
            self._refuse()

    do_HEAD = do_GET

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > LARGEST_QUESTION or not QUESTION.fullmatch(self.path):
            self._refuse()
            return
        self._pass_on(self.rfile.read(int(length)), self.path)

    def _refuse(self) -> None:
        self.close_connection = True
        self._answer(403, b'{"message": "the registry can only be read here"}')

    do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _refuse

    def _pass_on(self, body: bytes, path: str) -> None:
        place = urlsplit(self.registry)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=ANSWER_SECONDS)
        try:
            kind = {"Content-Type": "application/json"} if body else {}
            connection.request(self.command, path, body or None, kind)
            answer = connection.getresponse()
            self._answer(answer.status, answer.read())
        except (OSError, http.client.HTTPException) as error:
            self._answer(
                502, f'{{"message": "the registry does not answer: {type(error).__name__}"}}'.encode()
            )
        finally:
            connection.close()

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Logs no requests."""


def main() -> None:
    signal.signal(signal.SIGTERM, _end)
    port, RegistryProxy.registry = int(sys.argv[1]), sys.argv[2]
    ThreadingHTTPServer(("0.0.0.0", port), RegistryProxy).serve_forever()


def _end(*_: object) -> NoReturn:
    sys.exit(0)


if __name__ == "__main__":
    main()
