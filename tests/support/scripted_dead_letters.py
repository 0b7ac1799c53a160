"""A scripted server in place of the dead_letters API, and a dead letter as that API shows it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from chassis.http.tokens import Principal
from tests.support.principals import principal_of

LETTER: dict[str, Any] = {
    "dead_letter_id": 7,
    "consumer": "fraud",
    "topic": "orders",
    "partition": 2,
    "kafka_offset": 41,
    "type": "Order[red]Placed\x1b",
    "status": "parked",
    "failure": "permanent",
    "error_type": "Undecodable",
    "error_message": "too short",
    "attempts": 1,
    "redrive": 1,
    "last_failed_at": "2026-03-01T12:00:00Z",
    "event": None,
    "decode_error": "a value of 1 bytes is too short",
    "value": "00" * 80,
    "value_bytes": 80,
    "key": "o-1",
    "headers": [{"name": "ce_id", "value": "x\x1b[2J"}],
    "truncated": ["headers"],
    "withheld": [],
    "actions": [
        {
            "at": "2026-03-01T12:01:00Z",
            "who": "ada",
            "what": "redriven",
            "why": "so",
            "redrive": 1,
            "correction": None,
        }
    ],
}


class ScriptedApi:
    """Answers in turn, the last one for ever; keeps what it was asked."""

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, Any]] = []
        self.keys: list[str | None] = []
        self.principals: list[Principal] = []
        self.url = ""
        self.error_kind = "application/problem+json"

    def answer(self) -> tuple[int, Any]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def serving(dead_letters_api: ScriptedApi) -> Iterator[str]:
    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply(None)

        def do_POST(self) -> None:
            self.reply(json.loads(self.rfile.read(int(self.headers["content-length"]))))

        def reply(self, body: Any) -> None:
            dead_letters_api.asked.append((self.path, body))
            dead_letters_api.keys.append(self.headers.get("idempotency-key"))
            dead_letters_api.principals.append(principal_of({"authorization": self.headers["authorization"]}))
            status, content = dead_letters_api.answer()
            data = json.dumps(content).encode()
            self.send_response(status)
            kind = "application/json" if status == 200 else dead_letters_api.error_kind
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
