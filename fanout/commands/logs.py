"""`fanout logs`: the last lines that processes wrote, and new ones as they are written."""

import time
from pathlib import Path
from typing import Annotated

import typer

from fanout.errors import NotRunning, UnknownProcess
from fanout.local.stack_directory import StackDirectory, current
from fanout.local.supervisor import last_lines

INTERVAL_SECONDS = 0.3


def command(
    service: Annotated[
        str, typer.Argument(help="A process (fraud-worker) or a service (fraud); default: all.")
    ] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing new lines.")] = False,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=0, max=1_000_000, help="How many of the last lines.")
    ] = 20,
) -> None:
    """Print the last lines of the logs; logs are kept when the stack is stopped.

    Example: fanout logs orders -f
    """
    directory = current()
    names = _names(directory, service)
    width = max(map(len, names)) if len(names) > 1 else 0
    for name in names:
        _show(last_lines(directory, name, lines).splitlines(), name, width)
    if follow:
        _follow(directory, names, width)


def _names(directory: StackDirectory, service: str) -> list[str]:
    known = sorted(file.stem for file in directory.logs.glob("*.log"))
    if not known:
        raise NotRunning
    own = (service, f"{service}-api")
    wanted = [name for name in known if not service or name in own or name.startswith(f"{service}-worker")]
    if not wanted:
        raise UnknownProcess(service, known)
    return wanted


def _follow(directory: StackDirectory, names: list[str], width: int) -> None:
    files = {name: directory.logs / f"{name}.log" for name in names}
    positions = {name: file.stat().st_size for name, file in files.items()}
    while True:
        time.sleep(INTERVAL_SECONDS)
        for name, file in files.items():
            text, positions[name] = read_from(file, positions[name])
            _show(text.splitlines(), name, width)


def read_from(file: Path, position: int) -> tuple[str, int]:
    """Returns whole lines and the position after them; a file that became shorter is read from its start."""
    if not file.exists():
        return "", 0
    start = position if file.stat().st_size >= position else 0
    with file.open("rb") as opened:
        opened.seek(start)
        whole, newline, _ = opened.read().rpartition(b"\n")
    return whole.decode(errors="replace"), start + len(whole) + len(newline)


def _show(lines: list[str], name: str, width: int) -> None:
    for line in lines:
        print(f"{name:<{width}} | {line}" if width else line, flush=True)
