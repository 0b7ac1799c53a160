"""`fanout logs`: the last lines that processes wrote, and new ones as they are written."""

import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from fanout.completion import process_names
from fanout.console import printable
from fanout.errors import NotRunning
from fanout.local.stack_directory import StackDirectory, current
from fanout.local.supervisor import last_lines
from fanout.names import matching

INTERVAL_SECONDS = 0.3
COLOURS = ("cyan", "green", "magenta", "blue", "bright_cyan", "bright_green", "bright_magenta", "bright_blue")
LEVEL = re.compile(r'"level": ?"(warning|error|critical)"')
STYLES = {"warning": "yellow", "error": "red", "critical": "bold red"}


def command(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Processes (fraud-worker) or services (fraud); default: all.", autocompletion=process_names
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on printing new lines; Ctrl-C ends it.")
    ] = False,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=0, max=1_000_000, help="How many of the last lines.")
    ] = 20,
) -> None:
    """Print the last lines of the logs; logs are kept when the stack is stopped.

    On a terminal each process has a colour, and warnings and errors have theirs.

    Example: fanout logs -f orders fraud
    """
    directory, wanted = current(), names or []
    shown = _files(directory, wanted)
    printer = Printer(Console(highlight=False, soft_wrap=True), shown)
    positions = {file: file.stat().st_size for file in shown.values()}
    for name in shown:
        printer.show(name, last_lines(directory, name, lines).splitlines())
    while follow:
        time.sleep(INTERVAL_SECONDS)
        for name, file in _files(directory, wanted).items():
            text, positions[file] = read_from(file, positions.get(file, 0))
            printer.show(name, text.splitlines())


def _files(directory: StackDirectory, wanted: Sequence[str]) -> dict[str, Path]:
    """Returns the logs by process; those of processes that were added meanwhile, too. Raises UnknownProcess."""
    known = sorted(file.stem for file in directory.logs.glob("*.log"))
    if not known:
        raise NotRunning
    found = {each for name in wanted for each in matching(name, known)} if wanted else set(known)
    return {name: directory.logs / f"{name}.log" for name in sorted(found)}


def read_from(file: Path, position: int) -> tuple[str, int]:
    """Returns whole lines and the position after them; a file that became shorter is read from its start."""
    if not file.exists():
        return "", 0
    start = position if file.stat().st_size >= position else 0
    with file.open("rb") as opened:
        opened.seek(start)
        whole, newline, _ = opened.read().rpartition(b"\n")
    return whole.decode(errors="replace"), start + len(whole) + len(newline)


class Printer:
    """Prints lines with the name of their process before them, unless there is one process only."""

    def __init__(self, console: Console, names: Iterable[str]) -> None:
        self._console = console
        self._colours: dict[str, str] = {}
        self._width = 0
        for name in names:
            self._add(name)
        self._is_alone = len(self._colours) == 1

    def show(self, name: str, lines: Iterable[str]) -> None:
        for line in lines:
            level = LEVEL.search(line)
            said = Text(printable(line), STYLES[level[1]] if level else "")
            if self._is_alone and name in self._colours:
                self._console.print(said)
                continue
            self._add(name)
            before = Text(f"{name:<{self._width}} | ", self._colours[name])
            self._console.print(Text.assemble(before, said))

    def _add(self, name: str) -> None:
        self._colours.setdefault(name, COLOURS[len(self._colours) % len(COLOURS)])
        self._width = max(self._width, len(name))
