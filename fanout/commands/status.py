"""`fanout status`: what runs, since when, how often it was restarted, and the memory it takes."""

import json
import time
from dataclasses import asdict, dataclass
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fanout.errors import NotRunning
from fanout.local import memory
from fanout.local.stack_directory import current
from fanout.local.supervisor import State, Supervisor, starts

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Row:
    process: str
    state: str
    pid: int | None
    uptime_seconds: int
    restarts: int
    memory_bytes: int


def command(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show each process with state, pid, uptime, restarts and memory, and the sum of the memory.

    Example: fanout status --json
    """
    show(rows(), as_json)


def show(found: list[Row], as_json: bool) -> None:
    total = sum(row.memory_bytes for row in found)
    if as_json:
        print(json.dumps({"processes": [asdict(row) for row in found], "memory_bytes": total}, indent=2))
        return
    Console(highlight=False).print(_table(found, total))


def rows() -> list[Row]:
    directory = current()
    supervisor = Supervisor(directory)
    if not supervisor.answers():
        raise NotRunning
    counts = starts(directory)
    pid = supervisor.pid()
    itself = Row(
        "supervisord",
        "RUNNING",
        pid,
        _seconds_since(directory.supervisor_pid.stat().st_mtime),
        0,
        memory.of_one(pid),
    )
    return [*(_row(state, counts[state.name]) for state in supervisor.states()), itself]


def _row(state: State, count: int) -> Row:
    uptime = _seconds_since(state.since) if state.is_alive else 0
    used = memory.of_tree(state.pid) if state.pid else 0
    return Row(state.name, state.state, state.pid or None, uptime, max(count - 1, 0), used)


def _seconds_since(moment: float) -> int:
    return max(int(time.time() - moment), 0)


def _table(found: list[Row], total: int) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("process")
    table.add_column("state")
    for title in ("pid", "uptime", "restarts", "memory"):
        table.add_column(title, justify="right")
    for row in found:
        table.add_row(
            row.process,
            row.state,
            *map(str, (row.pid or "-", _duration(row.uptime_seconds), row.restarts)),
            _mb(row.memory_bytes),
        )
    table.add_row("sum", "", "", "", str(sum(row.restarts for row in found)), _mb(total), style="bold")
    return table


def _duration(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def _mb(size: int) -> str:
    return f"{size / MEGABYTE:.0f} MB"
