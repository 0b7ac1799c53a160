"""Changed code reaches the processes that load it, and no others: at the next `fanout up`, or on saving."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.stack import Stack
from tests.support.system import until
from tests.support.tree import copied_tree

BROKEN = (
    "services/fraud/service.py, line 1: invalid syntax: fraud cannot be imported, so nothing was restarted"
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running stack with a copy of the tree."""
    with copied_tree(tmp_path_factory.mktemp("changed")) as stack:
        stack.must("up", "--owner-pid", str(os.getpid()))
        yield stack


@contextmanager
def edited(copy: Stack, file: str, before: str = "", after: str = "") -> Iterator[None]:
    path = copy.repository / file
    text = path.read_text()
    path.write_text(before + text + after)
    try:
        yield
    finally:
        path.write_text(text)


def up(copy: Stack) -> list[str]:
    """Returns what it says about changed code."""
    done = copy.fanout("up")
    assert done.returncode == 0, done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith("restarted")]


def pids(copy: Stack) -> dict[str, int]:
    processes = json.loads(copy.must("status", "--json"))["processes"]
    return {process["process"]: process["pid"] for process in processes}


def different(before: dict[str, int], after: dict[str, int]) -> set[str]:
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def test_up_restarts_the_processes_of_the_changed_service_and_says_why(copy: Stack) -> None:
    before = pids(copy)
    with edited(copy, "services/payments/domain.py", after="\n# changed\n"):
        said = up(copy)
    assert said == [
        f"restarted payments-{kind}: services/payments/domain.py changed" for kind in ("worker", "api")
    ]
    assert different(before, pids(copy)) == {"payments-worker", "payments-api"}
    assert len(up(copy)) == 2, "the change was taken back"


def test_up_restarts_nothing_for_new_times_tests_and_migrations(copy: Stack) -> None:
    before = pids(copy)
    for file in (copy.repository / "chassis").rglob("*.py"):
        file.touch()
    with edited(copy, "services/fraud/migrations/0001_fraud.py", after="\n# changed\n"):
        (copy.repository / "services/fraud/test_fraud.py").write_text("")
        assert up(copy) == []
    assert different(before, pids(copy)) == set()


def test_up_restarts_nothing_for_code_that_cannot_be_imported_and_says_where(copy: Stack) -> None:
    before = pids(copy)
    with edited(copy, "services/fraud/service.py", before="def (\n"):
        done = copy.fanout("up")
    assert (done.returncode, done.stderr.count(BROKEN)) == (1, 1), done.stderr
    assert different(before, pids(copy)) == set()


@contextmanager
def dev(copy: Stack) -> Iterator[tuple["subprocess.Popen[str]", Path]]:
    """Yields the process of `fanout dev`, which watches already, and the file with what it says."""
    said = copy.home / "dev.txt"
    with said.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "fanout", "dev"],
            cwd=copy.repository,
            env=copy.environment,
            stderr=output,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
    try:
        yield process, said
    finally:
        process.kill()
        process.wait()


async def says(said: Path, text: str, times: int = 1, seconds: float = 30) -> None:
    async def is_said() -> bool:
        return said.read_text().count(text) >= times

    await until(is_said, seconds)


async def test_dev_takes_over_what_is_saved_names_what_is_broken_and_leaves_the_stack_running(
    copy: Stack,
) -> None:
    before = pids(copy)
    with dev(copy) as (process, said):
        await says(said, "watching services", seconds=60)
        with edited(copy, "services/fraud/domain.py", after="\n# changed\n"):
            await says(said, "restarted fraud-worker: services/fraud/domain.py changed")
            between = pids(copy)
            assert different(before, between) == {"fraud-worker"}
            with edited(copy, "services/fraud/service.py", before="def (\n"):
                await says(said, BROKEN)
            assert different(between, pids(copy)) == set()
        await says(said, "restarted fraud-worker: ", times=2)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert "no longer watching; 17 processes keep running" in said.read_text()
    assert different(before, pids(copy)) == {"fraud-worker"}


async def test_dev_leaves_a_migration_to_up(copy: Stack) -> None:
    with dev(copy) as (_, said):
        await says(said, "watching services", seconds=60)
        file = copy.repository / "services/fraud/migrations/0002_half_written.py"
        file.write_text('revision = "0002"\ndown_revision = "0001"\n\n\ndef upgrade() -> None: ...\n')
        await says(said, f"migrations/{file.name} changed: fanout up runs it when it is finished")
        with edited(copy, "services/fraud/service.py", after="\n# changed\n"):
            await says(said, "restarted fraud-worker: services/fraud/service.py changed")
        assert copy.must("setup").startswith("new: fraud: service_version")
