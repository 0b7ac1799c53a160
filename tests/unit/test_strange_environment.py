"""The tool asks the addresses of the stack and nobody else, whatever proxies, certificates and variables say."""

import errno
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fanout import cli, environment
from fanout.compose import setup
from fanout.compose.secrets import settings
from fanout.errors import BadUsage
from fanout.local import postgres
from fanout.repository import services
from fanout.tokens import public_key
from tests.support.stack import REPOSITORY
from tests.support.strange_machine import HOSTILE, ODD_NAME


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
        """Keeps requests out of the output of the tests."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    Answering.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
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
    key = tmp_path / "token.pem"
    public_key(key)
    addresses = {
        "token_key": str(key),
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

    kept = {name for name in HOSTILE if given.get(name) == HOSTILE[name]} - {"TMPDIR"}
    assert kept == set()
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


def test_the_command_hears_no_variable_of_python_and_stands_in_any_folder(tmp_path: Path) -> None:
    """pip's own command names Python in its first line, in quotes, and imports from $PYTHONPATH first."""
    folder = tmp_path / ODD_NAME / "bin"
    folder.mkdir(parents=True)
    (tmp_path / "fanout.py").write_text("raise SystemExit('the wrong one')")
    shutil.copy2(REPOSITORY / "deploy" / "fanout", folder / "fanout")
    (folder / "python").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    (folder / "python").chmod(0o755)
    (tmp_path / "link").symlink_to(folder / "fanout")

    done = subprocess.run(
        [tmp_path / "link", "--help"],
        cwd=tmp_path,
        env=os.environ
        | {"PYTHONHOME": "/no/such/folder", "PYTHONPATH": str(tmp_path), "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0 and "Usage: fanout" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("uid", "has_name", "namespaces"), [(1000, True, False), (0, True, True), (4711, False, True)]
)
def test_postgres_runs_under_an_account_that_it_accepts(
    uid: int, has_name: bool, namespaces: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = account_of(uid, has_name, namespaces, monkeypatch)

    assert found.uid is None
    assert bool(found.prefix) == namespaces


def test_root_without_user_namespaces_becomes_nobody_and_a_nameless_user_is_told_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert account_of(0, True, False, monkeypatch) == postgres.Account(uid=postgres.NOBODY)
    with pytest.raises(BadUsage, match=r"4711.*/etc/passwd"):
        account_of(4711, False, False, monkeypatch)


def account_of(
    uid: int, has_name: bool, namespaces: bool, monkeypatch: pytest.MonkeyPatch
) -> postgres.Account:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(postgres, "_has_name", lambda _: has_name)
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/unshare" if namespaces else None)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0))
    return postgres.account.__wrapped__()


def test_a_package_of_a_umask_077_is_made_readable_for_the_account_of_postgres(tmp_path: Path) -> None:
    program, library = tmp_path / "bin" / "postgres", tmp_path / "lib" / "libpq.so"
    for file, mode in ((program, 0o700), (library, 0o600)):
        file.parent.mkdir(mode=0o700)
        file.touch()
        file.chmod(mode)

    postgres._make_readable(tmp_path)

    modes = [path.stat().st_mode & 0o777 for path in (program.parent, program, library)]
    assert modes == [0o755, 0o755, 0o644]


def test_settings_of_the_servers_are_copied_for_the_accounts_that_read_them() -> None:
    """A checkout under umask 077 is closed to them, and so would be what is mounted from it."""
    copied = {path: uid for path, uid, _ in settings(REPOSITORY / "deploy")}
    assert {(Path(path).parent.name, uid) for path, uid in copied.items()} == {
        ("kafka-settings", 1000),
        ("postgres-settings", 999),
        ("registry-settings", 1001),
        ("jaeger-settings", 10001),
        ("prometheus-settings", 65534),
        ("alertmanager-settings", 65534),
        ("grafana-datasources", 472),
        ("grafana-providers", 472),
        ("grafana-dashboards", 472),
    }
    compose = (REPOSITORY / "docker-compose.yml").read_text()
    mounted = set(re.findall(r"^      - \./([^:]+):", compose, re.MULTILINE))
    read_by_root = {"fanout", "services", "deploy", ".secrets"}
    assert {source for source in mounted if not source.startswith(".secrets/")} == read_by_root
    assert {f".secrets/{Path(path).parent}" for path in copied} <= mounted


def test_images_built_under_a_umask_077_can_be_read_by_their_user() -> None:
    dockerfile = (REPOSITORY / "deploy" / "Dockerfile").read_text()
    for stage in re.split(r"^FROM ", dockerfile, flags=re.MULTILINE)[-2:]:
        copied = [
            line.split()[-1].rstrip("/")
            for line in stage.splitlines()
            if line.startswith("COPY") and "lock" not in line
        ]
        assert copied
        opened = re.findall(r"chmod -R a\+rX (\S+)", stage)
        assert stage.rindex("chmod -R") > stage.rindex("\nCOPY")
        assert "." in opened or set(copied) <= set(opened)


def test_the_setup_of_the_containers_hears_no_proxy_that_docker_put_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(environment, "_dropped", {})
    seen: set[str] = set()

    def provision(_: object) -> list[str]:
        seen.update(os.environ)
        return []

    monkeypatch.setattr(setup, "read_passwords", dict)
    monkeypatch.setattr(setup, "_provision", provision)

    setup.main()

    assert "PATH" in seen
    assert not {name for name in seen if name in environment.FOR_DOWNLOADS or name.startswith("PG")}


def test_a_letter_that_the_terminal_lacks_is_replaced() -> None:
    program = "from fanout import cli; cli._run = lambda _: print('für …') or 0; cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "f?r ?\n"), done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
@pytest.mark.parametrize("program", ["cli.main()", "cli._run = lambda _: print('a result') or 0; cli.main()"])
def test_a_result_that_cannot_be_written_is_a_sentence(program: str) -> None:
    """Help is written at once, a result when the command ends."""
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-c", f"from fanout import cli; {program}", "--help"]
        buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        done = subprocess.run(
            command, cwd=REPOSITORY, env=buffered, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ") and "No space left on device" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_full_disk_is_a_sentence_wherever_it_is_met(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cli, "_app", full)
    assert cli._run(["up"]) == 2
    assert "FANOUT_HOME" in capsys.readouterr().err
