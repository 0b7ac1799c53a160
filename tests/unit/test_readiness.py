"""`fanout status` names the contracts that a worker misses in the registry; a worker that is silent has none."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from fanout.readiness import unregistered


class Health(BaseHTTPRequestHandler):
    answers: dict[str, tuple[int, bytes]] = {}

    def do_GET(self) -> None:
        status, body = self.answers[self.path]
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Health) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


async def test_a_missing_contract_is_named_with_its_worker(address: str) -> None:
    body = {
        "status": "not ready",
        "not_registered": ["fraud-fanout.FraudAssessed v2 is not registered: run `fanout setup`"],
    }
    Health.answers = {"/health/ready": (503, json.dumps(body).encode())}
    assert await unregistered({"fraud": address}) == [
        "fraud-worker is not ready: fraud-fanout.FraudAssessed v2 is not registered: run `fanout setup`"
    ]


@pytest.mark.parametrize(
    "body", [b'{"status": "ready", "not_registered": []}', b"{}", b"[]", b"<html>", b'{"not_registered": 1}']
)
async def test_any_other_answer_names_nothing(address: str, body: bytes) -> None:
    Health.answers = {"/health/ready": (200, body)}
    assert await unregistered({"fraud": address, "orders": "http://127.0.0.1:1"}) == []
