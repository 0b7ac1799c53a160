"""Ctrl-C in commands that take long, on a running system: never a traceback, and a true word about what goes on."""

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanout.local.stack_directory import StackDirectory
from fanout.local.supervisor import Supervisor
from tests.support.interrupts import Ended, When, interrupted, talks_to_the_stack
from tests.support.stack import REPOSITORY, Stack, free_base
from tests.support.system import System

FANOUT = [sys.executable, "-m", "fanout"]
TERMINAL = {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "120"}
RUNS = "stopped: the system runs, and finishes the orders that it has accepted"
NOTHING_RUNS = "stopped: nothing runs, and what was fetched is kept"


def pressed(stack: Stack, line: str, text: str = "", when: When | None = None) -> Ended:
    """Interrupts a command when it has printed a text, or `when` is true, or else when it has a connection."""
    has_come = (lambda printed, _: text in printed) if text else when or talks_to_the_stack
    command = [*FANOUT, *line.split()]
    return interrupted(command, stack.environment | TERMINAL, has_come, REPOSITORY, patience=120)


@pytest.mark.parametrize(
    "line",
    ["verify --wait 30s", "lag", "setup", "replay analytics", "up", "load"],
)
async def test_a_command_that_works_on_the_system_ends_without_a_traceback(line: str, system: System) -> None:
    ended = pressed(system.stack, line)

    assert ended.is_clean, ended
    await system.settled()


async def test_an_interrupted_scale_is_finished_by_the_next(system: System) -> None:
    try:
        ended = pressed(system.stack, "scale inventory 2")
    finally:
        await system.fanout("scale", "inventory", "1")
    assert ended.is_clean, ended
    await system.settled()


async def test_an_interrupted_stop_or_start_is_finished_by_the_next(system: System) -> None:
    supervisor = Supervisor(StackDirectory(system.stack.home))
    before = supervisor.state("fraud-worker").pid
    try:
        stopping = pressed(
            system.stack, "stop fraud", when=lambda *_: supervisor.state("fraud-worker").state == "STOPPING"
        )
        await system.fanout("stop", "fraud")
        starting = pressed(
            system.stack,
            "start fraud",
            when=lambda *_: supervisor.state("fraud-worker").pid not in (0, before),
        )
    finally:
        await system.fanout("start", "fraud")
    assert stopping.is_clean and starting.is_clean, (stopping, starting)
    await system.settled()


@pytest.mark.parametrize("text", ["placed ", "sent SIGKILL to fraud-worker"])
async def test_an_interrupted_demo_leaves_the_system_at_work_and_says_so(text: str, system: System) -> None:
    ended = pressed(system.stack, "demo --orders 200 --rate 50", text)

    assert ended.is_clean and RUNS in ended.output, ended
    await system.settled()


async def test_no_line_of_the_demo_is_printed_into_its_spinner(system: System) -> None:
    """What is printed beside the spinner erases it first, and it is drawn again below."""
    ended = pressed(system.stack, "demo --orders 200 --rate 50", "sent SIGKILL to fraud-worker")

    assert re.search(r"\r\x1b\[2Ksent SIGKILL to fraud-worker", ended.output), repr(ended.output)
    await system.settled()


@pytest.fixture
def own_stack() -> Iterator[Stack]:
    """Does not run yet."""
    home = Path(tempfile.mkdtemp(prefix="fanout-test-"))
    stack = Stack(home, os.environ | {"FANOUT_HOME": str(home), "FANOUT_PORT_BASE": str(free_base())})
    yield stack
    stack.fanout("down", "--wipe")
    shutil.rmtree(home, ignore_errors=True)


def test_a_demo_says_truly_what_runs_wherever_it_is_interrupted(own_stack: Stack) -> None:
    while_it_starts = pressed(own_stack, "demo", "postgres is ready")
    assert while_it_starts.is_clean and NOTHING_RUNS in while_it_starts.output, while_it_starts
    assert "not running" in own_stack.fanout("status").stderr

    line = "demo --orders 20 --rate 50"
    while_a_message_is_corrected = pressed(own_stack, line, "a message that cannot be decoded")
    assert while_a_message_is_corrected.is_clean, while_a_message_is_corrected
    assert RUNS in while_a_message_is_corrected.output
    assert own_stack.fanout("status").returncode == 0
