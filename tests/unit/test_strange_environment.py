"""The tool asks the addresses of the stack and nobody else, whatever proxies, certificates and variables say."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fanout import environment
from fanout.repository import services
from tests.support.stack import REPOSITORY
from tests.support.strange_machine import HOSTILE


class Answering(BaseHTTPRequestHandler):
    """Answers everything with a 404 that each client of ours can read."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.dumps({"error_code": 40401, "message": "none", "detail": "none"}).encode()
        self.send_response(404)
        self.send_header("Content-Type", "application/problem+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    Answering.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("schemas show OrderPlaced", "/subjects/orders-fanout.OrderPlaced/versions"),
        ("dlq show 7", "/dead-letters/7"),
        ("load --orders 1", "/orders"),
    ],
)
def test_the_tool_asks_the_stack_itself_whatever_the_environment_says(
    line: str, asked: str, server: ThreadingHTTPServer, tmp_path: Path
) -> None:
    url = f"http://127.0.0.1:{server.server_port}"
    names = services()
    addresses = {
        "kafka": "127.0.0.1:9",
        "registry_url": url,
        "databases": {},
        "apis": dict.fromkeys(names, url),
        "workers": dict.fromkeys(names, url),
    }
    (tmp_path / "addresses.json").write_text(json.dumps(addresses))
    done = subprocess.run(
        [sys.executable, "-m", "fanout", *line.split()],
        cwd=REPOSITORY,
        env=os.environ | HOSTILE | {"FANOUT_ADDRESSES": str(tmp_path / "addresses.json")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "unexpected" not in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert any(path.startswith(asked) for path in Answering.asked), (Answering.asked, done)


def test_a_process_of_the_stack_hears_nothing_of_a_hostile_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (
        HOSTILE | {"PYTHONPATH": "/x", "PYTHONHOME": "/x", "LD_LIBRARY_PATH": "/lib"}
    ).items():
        monkeypatch.setenv(name, value)

    given = environment.for_process({"OWN": "1"})

    foreign = {name for name in HOSTILE if given.get(name) == HOSTILE[name]} - {"TMPDIR"}
    assert foreign == set()
    assert not {"PYTHONPATH", "PYTHONHOME"} & given.keys()
    assert (given["OWN"], given["LC_ALL"], given["LD_LIBRARY_PATH"]) == ("1", "C.UTF-8", "/lib")


def test_a_user_without_a_name_is_called_by_his_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr("getpass.getuser", nameless)

    assert environment.user_name() == f"uid {os.getuid()}"


def test_every_text_file_is_checked_out_with_line_feeds() -> None:
    """Also where git is told to write carriage returns: scripts and settings are run or mounted inside Linux."""
    listed = subprocess.run(["git", "ls-files", "--eol"], cwd=REPOSITORY, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("this tree is no git repository")
    files = [line.partition("\t")[::2] for line in listed.stdout.splitlines()]
    texts = {name: how for how, name in files if not how.startswith("i/-text")}
    assert len(texts) > 400
    assert [name for name, how in texts.items() if "i/crlf" in how or "i/mixed" in how] == []
    assert [name for name, how in texts.items() if "eol=lf" not in how] == []
