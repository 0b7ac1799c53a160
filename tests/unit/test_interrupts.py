"""Ctrl-C ends a command with one sentence or none, never with a traceback, wherever it is."""

import json
import os
import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fanout.tokens import public_key
from tests.support.interrupts import interrupted
from tests.support.stack import REPOSITORY

FANOUT = [sys.executable, "-m", "fanout"]


class Silent:
    """A server that accepts connections and never answers."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        try:
            while True:
                self.connections.append(self._listener.accept()[0])
        except OSError:
            return

    def close(self) -> None:
        self._listener.close()
        for connection in self.connections:
            connection.close()


@pytest.fixture
def silent() -> Iterator[Silent]:
    server = Silent()
    yield server
    server.close()


@pytest.mark.parametrize("command", ["demo", "up"])
def test_a_download_that_hangs_is_interrupted_at_once_and_nothing_runs(
    command: str, silent: Silent, tmp_path: Path
) -> None:
    environment = os.environ | {
        "FANOUT_HOME": str(tmp_path / "home"),
        "FANOUT_PORT_BASE": "9760",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "HTTPS_PROXY": silent.url,
        "https_proxy": silent.url,
    }

    ended = interrupted([*FANOUT, command], environment, lambda *_: bool(silent.connections), REPOSITORY)

    assert ended.is_clean and ended.seconds < 5, ended
    assert "fetching Kafka and the schema registry, 48 files, 2" in ended.output
    assert ended.output.rstrip().splitlines()[-1].startswith("stopped: ")
    assert "what was fetched is kept" in ended.output


def test_a_followed_log_ends_without_a_word(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    for name in ("fraud-worker", "orders-api"):
        (logs / f"{name}.log").write_text(f"{name} has begun\n")

    ended = interrupted(
        [*FANOUT, "logs", "-f", "fraud", "orders"],
        os.environ | {"FANOUT_HOME": str(tmp_path)},
        lambda printed, _: "orders-api has begun" in printed,
        REPOSITORY,
    )

    assert ended.is_clean and ended.seconds < 5, ended
    assert ended.output.splitlines() == [
        "fraud-worker | fraud-worker has begun",
        "orders-api   | orders-api has begun",
    ]


def test_a_load_says_how_many_orders_were_accepted_before(silent: Silent, tmp_path: Path) -> None:
    key = tmp_path / "token.pem"
    public_key(key)
    addresses = {
        "kafka": "127.0.0.1:9",
        "registry_url": silent.url,
        "databases": {},
        "apis": {"orders": silent.url, "payments": silent.url},
        "workers": {},
        "token_key": str(key),
    }
    (tmp_path / "addresses.json").write_text(json.dumps(addresses))

    ended = interrupted(
        [*FANOUT, "load"],
        os.environ | {"FANOUT_ADDRESSES": str(tmp_path / "addresses.json")},
        lambda *_: len(silent.connections) > 3,
        REPOSITORY,
    )

    assert ended.is_clean and ended.seconds < 5, ended
    assert ended.output.splitlines() == [
        "stopped; 0 orders of 300 accepted, and the system goes on with them"
    ]


@pytest.mark.parametrize("imported", ["typer", "fanout.local.supervisor"], ids=["the tool", "the command"])
def test_a_command_that_still_imports_its_modules_ends_without_a_traceback(
    imported: str, tmp_path: Path
) -> None:
    """The import hook writes a file when the module is asked for, and never comes to an end."""
    began = tmp_path / "began"
    (tmp_path / "usercustomize.py").write_text(SLOW_IMPORT.format(name=imported, began=str(began)))
    (tmp_path / "sitecustomize.py").write_text("import usercustomize")

    ended = interrupted(
        [*FANOUT, "status"],
        os.environ | {"FANOUT_HOME": str(tmp_path), "PYTHONPATH": str(tmp_path)},
        lambda *_: began.exists(),
        REPOSITORY,
    )

    assert ended.is_clean and ended.output == "", ended


SLOW_IMPORT = """
import pathlib, sys, time

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "{name}":
            pathlib.Path("{began}").touch()
            time.sleep(60)

sys.meta_path.insert(0, Slow())
"""


@contextmanager
def repository(folder: Path) -> Iterator[Path]:
    """Yields a repository with what `make` needs, and a Python whose pip takes for ever."""
    for file in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy2(REPOSITORY / file, folder / file)
    (folder / "deploy").mkdir()
    shutil.copy2(REPOSITORY / "deploy/environment", folder / "deploy/environment")
    pip = "#!/bin/sh\n: > pip-began\nexec sleep 60\n"
    python = """#!/bin/sh
case "$2" in
  *version_info*) exit 0 ;;
  *venv.main*) mkdir -p "$3/bin"; cp slow-pip "$3/bin/python"; chmod 755 "$3/bin/python" ;;
esac
"""
    (folder / "slow-pip").write_text(pip)
    (folder / "python").write_text(python)
    (folder / "python").chmod(0o755)
    yield folder


def test_the_environment_says_what_takes_so_long_and_what_runs_after_ctrl_c(tmp_path: Path) -> None:
    with repository(tmp_path) as folder:
        ended = interrupted(
            ["make", "demo", "PYTHON=./python"],
            os.environ,
            lambda *_: (folder / "pip-began").exists(),
            folder,
        )

    assert "Traceback" not in ended.output and ended.code != 0, ended
    assert "pip fetches and unpacks 1" in ended.output and "for half a minute or two" in ended.output
    assert "stopped: nothing runs" in ended.output
    assert not (tmp_path / ".venv/.ready").exists()


def test_a_python_that_just_makes_the_environment_ends_without_a_traceback(tmp_path: Path) -> None:
    with repository(tmp_path) as folder:
        ended = interrupted(
            ["make", "install", f"PYTHON={sys.executable}"],
            os.environ,
            lambda *_: (folder / ".venv/pyvenv.cfg").exists(),
            folder,
        )

    assert "Traceback" not in ended.output and ended.code != 0, ended
    assert "stopped: nothing runs" in ended.output
