"""What commands print: results on standard output, progress on standard error, so that results can be piped."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from time import monotonic
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

Tell = Callable[[str], None]
"""Replaces the line of progress."""

LINE_SECONDS = 2.0
SPINNER_WIDTH = 2

console = Console(stderr=True, highlight=False)


def say(text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)


def print_json(document: Any) -> None:
    """Writes times in ISO 8601, and everything else that JSON does not know as text."""
    print(json.dumps(document, indent=2, default=_text))


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


@contextmanager
def progress(console: Console) -> Iterator[Tell]:
    """Shows progress in one changing line, cut to the width of the terminal; elsewhere a line every two seconds."""
    if console.is_terminal and not console.is_dumb_terminal:
        with console.status("", refresh_per_second=4) as status:
            yield lambda text: status.update(fitted(text, console.width - SPINNER_WIDTH))
        return
    last, shown_at = "", 0.0

    def show(text: str) -> None:
        nonlocal last, shown_at
        if text != last and monotonic() - shown_at >= LINE_SECONDS:
            last, shown_at = text, monotonic()
            console.print(f"  {text}", highlight=False, markup=False, soft_wrap=True)

    yield show


def fitted(text: str, width: int) -> str:
    """Returns a text that fits into one line: if it is too long, its last items, or its end, become `…`."""
    if len(text) <= width:
        return text
    items = text[: width - 1].rpartition(", ")[0]
    return f"{items}, …" if items else f"{text[: width - 1]}…"


def table(headings: Sequence[str], rows: Iterable[Iterable[object]], unbroken: Iterable[str] = ()) -> Table:
    """Returns a table of plain text. A heading that begins with `>` stands over a right-aligned column.

    The columns in `unbroken` are never wrapped.
    """
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        name = heading.removeprefix(">")
        made.add_column(name, justify="left" if name == heading else "right", no_wrap=name in unbroken)
    for row in rows:
        made.add_row(*(Text(printable(cell)) for cell in row))
    return made


def printable(text: object) -> str:
    """Replaces control characters, so that a message cannot send commands to the terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))


def counted(number: int, noun: str, plural: str = "") -> str:
    """Returns `1 row` or `2 rows`; `plural` is for a noun whose plural is not made by an s."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"


def in_units(seconds: float) -> str:
    """Returns a span in its largest unit: `0.4 s`, `12 min`, `3.5 h`, `6.9 d`."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"


def some(texts: Sequence[str], limit: int = 10) -> str:
    return ", ".join(texts[:limit]) + (", …" if len(texts) > limit else "")
