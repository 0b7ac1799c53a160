"""`fanout status`: the processes of the stack, their uptime, restarts and memory."""

import asyncio
import time
from dataclasses import asdict, dataclass
from datetime import timedelta

from rich.console import Console

from fanout.console import Json, print_json, table
from fanout.errors import NotRunning, Unreachable
from fanout.local import memory
from fanout.local.stack_directory import current
from fanout.local.supervisor import State, Supervisor, starts
from fanout.readiness import unregistered
from fanout.running import running


@dataclass(frozen=True)
class Row:
    process: str
    state: str
    pid: int | None
    uptime_seconds: int
    restarts: int
    memory_bytes: int


def command(json_output: Json = False) -> None:
    """Show each process with state, pid, uptime, restarts and memory, the sum of the memory, and missing contracts.

    Example: fanout status --json
    """
    found = rows()
    missing = asyncio.run(unregistered(running().workers))
    total = sum(row.memory_bytes for row in found)
    lowered = _lowered_levels()
    if json_output:
        print_json(
            {
                "processes": [asdict(row) for row in found],
                "memory_bytes": total,
                "lowered_compatibility": lowered,
                "not_registered": missing,
            }
        )
        return
    lines = [*map(_cells, found), ("sum", "", "", "", sum(row.restarts for row in found), _mb(total))]
    headings = ("process", "state", ">pid", ">uptime", ">restarts", ">memory")
    Console(highlight=False).print(table(headings, lines, unbroken=("process",)))
    for subject, level in lowered.items():
        what = f"of {subject}" if subject else "by default"
        print(
            f"the registry accepts breaking changes {what}: compatibility {level}; fanout setup puts it back"
        )
    for sentence in missing:
        print(sentence)


def _cells(row: Row) -> tuple[object, ...]:
    """Returns the line of a process; one that is stopped has neither pid nor uptime."""
    uptime = timedelta(seconds=row.uptime_seconds) if row.pid else "-"
    return row.process, row.state, row.pid or "-", uptime, row.restarts, _mb(row.memory_bytes)


def rows() -> list[Row]:
    directory = current()
    supervisor = Supervisor(directory)
    if not supervisor.answers():
        raise NotRunning
    counts = starts(directory)
    pid = supervisor.pid()
    uptime = _seconds_since(directory.supervisor_pid.stat().st_mtime)
    itself = Row("supervisord", "RUNNING", pid, uptime, 0, memory.of_one(pid))
    return [*(_row(state, counts[state.name]) for state in supervisor.states()), itself]


def _lowered_levels() -> dict[str, str]:
    """Returns the compatibility levels that were lowered, by subject; none while the registry does not answer."""
    from fanout.contracts.registry import lowered_levels, open_registry
    from schemas import EVENTS
    from schemas.files import subject_of

    try:
        with open_registry(running().registry_url) as registry:
            return lowered_levels(registry, [subject_of(event) for event in EVENTS])
    except (NotRunning, Unreachable):
        return {}


def _row(state: State, starts: int) -> Row:
    uptime = _seconds_since(state.since) if state.is_alive else 0
    used = memory.of_tree(state.pid) if state.pid else 0
    return Row(state.name, state.state, state.pid or None, uptime, max(starts - 1, 0), used)


def _seconds_since(timestamp: float) -> int:
    return max(int(time.time() - timestamp), 0)


def _mb(size: int) -> str:
    return f"{size / 1_000_000:.0f} MB"
