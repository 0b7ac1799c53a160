"""Data that outlives its passwords: nothing starts, and one sentence says how to go on. Postgres alone is started."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.containers import Containers, daemon_answers, of_a_copy

ANSWER_SECONDS = 10
UP = ("up", "--detach", "--wait", "postgres")


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Containers]:
    if not daemon_answers():
        pytest.skip("no Docker daemon answers here, so the containers are not tested")
    made = of_a_copy(tmp_path / "tree", "alone")
    try:
        made.compose(*UP)
        yield made
    finally:
        made.take_down()


def refuses(containers: Containers) -> str:
    """Returns the only sentence of `secrets`, after an `up` that fails in time and starts no server."""
    began = time.monotonic()
    failed = subprocess.run(
        ["docker", "compose", *UP], cwd=containers.repository, env=containers.environment, capture_output=True
    )
    assert time.monotonic() - began < ANSWER_SECONDS
    assert failed.returncode != 0
    assert b'"secrets" didn\'t complete' in failed.stderr
    assert containers.compose("ps", "--status", "running", "-q", "postgres") == ""
    return containers.compose("logs", "--no-log-prefix", "--no-color", "--since", "10s", "secrets").strip()


def test_data_without_its_secrets_is_said_in_a_sentence_and_both_ways_on_work(
    alone: Containers, tmp_path: Path
) -> None:
    folder, saved = alone.repository / ".secrets", tmp_path / "saved"
    alone.compose("down")
    shutil.move(folder, saved)
    said = refuses(alone)
    assert "put the .secrets that belongs to this data back" in said
    assert said.count("\n") == 0

    shutil.rmtree(folder)
    shutil.move(saved, folder)
    alone.compose(*UP)
    assert alone.compose("exec", "-T", "postgres", "pg_isready", "-h", "127.0.0.1")

    alone.compose("down")
    shutil.rmtree(folder)
    assert "docker compose down -v" in refuses(alone)
    alone.compose("down", "-v")
    alone.compose(*UP)


def test_the_secrets_of_another_system_are_not_taken_for_those_of_the_data(alone: Containers) -> None:
    password = alone.repository / ".secrets/setup/passwords.json"
    alone.compose("stop")
    password.write_text(password.read_text().replace('"postgres": "', '"postgres": "0'))
    assert "put the .secrets that belongs to this data back" in refuses(alone)
