"""An alert becomes an e-mail in the system's own mail server: the real Alertmanager, with our settings."""

import json
import mailbox
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fanout.local.ports import free_port, is_free
from fanout.repository import REPOSITORY

PROGRAM = shutil.which("alertmanager") or shutil.which("prometheus-alertmanager")
SETTINGS = REPOSITORY / "deploy/observability/alertmanager.yml"
DEADLINE_SECONDS = 30


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[str]:
    """Its address; mail arrives in the Maildir `mail`."""
    smtp, port = free_port(), free_port()
    text = SETTINGS.read_text().replace("mailbox:2525", f"127.0.0.1:{smtp}")
    (tmp_path / "alertmanager.yml").write_text(text)
    server = [
        sys.executable,
        "-m",
        "fanout.local.smtp_server",
        "127.0.0.1",
        str(smtp),
        str(tmp_path / "mail"),
    ]
    options = [f"--config.file={tmp_path}/alertmanager.yml", f"--storage.path={tmp_path}/data"]
    options += [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
    with running(server), running([PROGRAM or "", *options]):
        wait_until(lambda: not is_free(smtp) and not is_free(port))
        yield f"http://127.0.0.1:{port}"


@pytest.mark.skipif(not PROGRAM, reason="needs Alertmanager: apt-get install prometheus-alertmanager")
def test_a_page_is_mailed_to_who_is_on_call_and_a_warning_to_the_next_working_day(
    alertmanager: str, tmp_path: Path
) -> None:
    post(alertmanager, {"alertname": "ConsumerLagHigh", "severity": "page", "group": "fraud"})
    post(alertmanager, {"alertname": "DeadLettersAppearing", "severity": "warn"})
    wait_until(lambda: len(mails(tmp_path)) == 2)
    assert {to: "ConsumerLagHigh" in subject for to, subject in mails(tmp_path).items()} == {
        "on-call@fanout.example": True,
        "next-working-day@fanout.example": False,
    }


@pytest.mark.skipif(not PROGRAM, reason="needs Alertmanager: apt-get install prometheus-alertmanager")
def test_a_consumer_that_stopped_is_not_told_beside_the_page_about_its_lag(
    alertmanager: str, tmp_path: Path
) -> None:
    post(alertmanager, {"alertname": "ConsumerLagHigh", "severity": "page", "group": "fraud"})
    post(alertmanager, {"alertname": "ConsumerStopped", "severity": "warn", "group": "fraud"})
    post(alertmanager, {"alertname": "ConsumerStopped", "severity": "warn", "group": "orders"})
    wait_until(lambda: len(mails(tmp_path)) == 2)
    body = (tmp_path / "mail/new").iterdir()
    warning = next(text for file in body if "next-working-day" in (text := file.read_text()))
    assert "orders" in warning and "fraud" not in warning


def mails(folder: Path) -> dict[str, str]:
    """Returns the subjects of all mail, by receiver."""
    return {mail["To"]: mail["Subject"] for mail in mailbox.Maildir(folder / "mail")}


def post(address: str, labels: dict[str, str]) -> None:
    request = urllib.request.Request(
        f"{address}/api/v2/alerts",
        json.dumps([{"labels": labels}]).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


@contextmanager
def running(command: list[str]) -> Iterator[None]:
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)
