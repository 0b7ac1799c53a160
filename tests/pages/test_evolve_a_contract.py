"""docs/evolve-a-contract.md, command by command and change by change, in a copy of the tree while orders are placed."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.pages import does_what_it_shows, steps_of
from tests.support.stack import REPOSITORY, Stack
from tests.support.tree import copied_tree, with_command

LOAD = "{ fanout load --orders 150 --rate 15 --patient >>load.log 2>&1 || touch load-failed; } &"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Stack]:
    """A copy of the tree, with a running stack of its own."""
    with copied_tree(tmp_path) as stack:
        stack.must("up", "--owner-pid", str(os.getpid()))
        yield stack


@pytest.mark.timeout(400)
def test_the_page_about_contracts_does_what_it_shows(running: Stack) -> None:
    steps = steps_of(REPOSITORY / "docs/evolve-a-contract.md")
    does_what_it_shows(
        [replace(step, command=under_load(step.command, running)) for step in steps],
        running.repository,
        with_command(running),
        seconds=390,
    )
    log = (running.repository / "load.log").read_text()
    assert not (running.repository / "load-failed").exists(), log


def under_load(command: str, running: Stack) -> str:
    """Places orders while processes are restarted, and waits for the last of them before the ledger is asked."""
    if command.startswith("fanout stop"):
        return f"{LOAD}\n{command}"
    if command.startswith("fanout verify"):
        return f"wait; {command}"
    return command.replace("localhost:80", f"localhost:{int(running.environment['FANOUT_PORT_BASE']) // 100}")
