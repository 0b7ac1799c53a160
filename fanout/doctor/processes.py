"""The processes of the local stack: which are stopped or fail, and which an earlier run has left behind."""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping

import psutil

from fanout.doctor.findings import Finding
from fanout.doctor.surroundings import Surroundings
from fanout.local.stack_directory import MARK

RESTARTS = 3
"""Starts of one process since the stack is up, from which on somebody should look at its log."""


def processes(around: Surroundings) -> Iterator[Finding]:
    if around.in_container:
        yield Finding("unasked", "processes", "which containers run: docker compose ps")
        return
    if not around.runs:
        yield Finding(
            "watch", "processes", "no stack runs here", "only the machine can be examined", around.start
        )
        return
    from fanout.local.supervisor import starts

    found = [*states(around.processes), *restarts(starts(around.directory))]
    yield from found or [Finding("ok", "processes", f"all {len(around.processes)} processes run")]


def states(by_process: Mapping[str, str]) -> Iterator[Finding]:
    for name, state in by_process.items():
        if state == "STOPPED":
            yield Finding(
                "watch", "processes", f"{name} is stopped", "somebody stopped it", f"fanout start {name}"
            )
        elif state not in ("RUNNING", "STARTING"):
            yield Finding(
                "wrong",
                "processes",
                f"{name} is {state}",
                "it ends as soon as it is started",
                f"fanout logs {name}, then fanout start {name}",
            )


def restarts(starts: Mapping[str, int]) -> Iterator[Finding]:
    for name, count in starts.items():
        if count > RESTARTS:
            yield Finding(
                "watch",
                "processes",
                f"{name} was started {count} times since the stack is up",
                "it was killed or it crashes; what it had in hand is done again",
                f"fanout logs {name}",
            )


def left_behind(around: Surroundings) -> Iterator[Finding]:
    """Finds processes that outlived their supervisor, and other stacks of this user."""
    if around.in_container:
        return
    by_stack = marked()
    ours = by_stack.pop(os.path.realpath(around.directory.path), [])
    if ours and not around.runs:
        yield outlived(str(around.directory.path), ours)
    for stack, found in by_stack.items():
        yield other(stack, found, exists=os.path.isdir(stack))
    if not by_stack and (around.runs or not ours):
        yield Finding("ok", "left behind", "no process of an earlier run and no other stack")


def outlived(stack: str, pids: list[int]) -> Finding:
    return Finding(
        "wrong",
        "left behind",
        f"{len(pids)} processes of {stack} have outlived their supervisor",
        "nobody restarts them, and they keep the ports",
        "fanout down",
    )


def other(stack: str, pids: list[int], exists: bool) -> Finding:
    if exists:
        what = f"another stack runs in {stack} ({len(pids)} processes)"
        return Finding("ok", "left behind", what, "", f"FANOUT_HOME={stack} fanout down")
    return Finding(
        "watch",
        "left behind",
        f"{len(pids)} processes of the deleted stack {stack} still run",
        "they take memory and ports for nothing",
        f"FANOUT_HOME={stack} fanout down",
    )


def marked() -> dict[str, list[int]]:
    """Returns the processes that carry a stack's mark, by its directory; those of other users cannot be seen."""
    found: dict[str, list[int]] = defaultdict(list)
    for process in psutil.process_iter():
        try:
            if stack := process.environ().get(MARK):
                found[stack].append(process.pid)
        except (psutil.Error, OSError):
            continue
    return found
