"""What commands print: results on standard output, progress on standard error, so that results can be piped."""

import json
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

console = Console(stderr=True, highlight=False)


def say(text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)


def print_json(document: Any) -> None:
    print(json.dumps(document, indent=2))


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


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def some(texts: Sequence[str], limit: int = 10) -> str:
    return ", ".join(texts[:limit]) + (", …" if len(texts) > limit else "")
