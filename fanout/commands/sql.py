"""`fanout sql`: reads a service's database with a statement of yours; secrets are masked, nothing can be written."""

import asyncio
import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from fanout.console import Json, counted, print_json, printable, table
from fanout.durations import seconds
from fanout.errors import UnknownService
from fanout.running import running
from fanout.sql import TABLES, Result, query, tables

SECONDS = "10s"
WIDEST = 10_000

Service = Annotated[str, typer.Argument(metavar="SERVICE", help="Whose database.", show_default=False)]
Statement = Annotated[
    str, typer.Argument(metavar="[STATEMENT]", help="A single SELECT; default: list the tables.")
]
Limit = Annotated[int, typer.Option(min=1, max=1_000_000, help="Show so many rows at most.")]
Timeout = Annotated[
    float, typer.Option(parser=seconds, metavar="SPAN", help="How long the statement may take.")
]


def command(
    service: Service,
    statement: Statement = "",
    limit: Limit = 100,
    timeout: Timeout = SECONDS,  # type: ignore[assignment]
    json_output: Json = False,
) -> None:
    """Read a service's database with a statement, or list its tables with their rows and columns.

    Nothing can be written. Secrets are ***, and of bytes you see only how many there are: fanout tail and fanout dlq
    show decode them.

    Example: fanout sql orders "select order_id, status, total_cents from orders order by placed_at desc limit 5"
    """
    databases = running().databases
    if service not in databases:
        raise UnknownService(service, sorted(databases))
    url = databases[service]
    found = asyncio.run(
        query(service, url, statement, limit, timeout) if statement.strip() else tables(service, url, timeout)
    )
    if json_output:
        print_json({"rows": [_document(found, row) for row in found.rows], "more": found.more})
        return
    show(found, Console(highlight=False))


def show(found: Result, console: Console) -> None:
    """Prints a table or, if its rows do not fit, each row as a list of its columns."""
    page = _table(found)
    natural = Measurement.get(console, console.options.update(width=WIDEST), page).maximum
    if natural <= console.width or found.columns == TABLES:
        console.print(page)
    else:
        for number, row in enumerate(found.rows, 1):
            console.print(Text(f"row {number}", "bold"))
            console.print(_record(found.columns, row))
    print(counted(len(found.rows), "row") + ", there are more: --limit" * found.more)


def _table(found: Result) -> Table:
    numbers = [
        bool(found.rows)
        and all(
            isinstance(row[place], int | float | None) and not isinstance(row[place], bool)
            for row in found.rows
        )
        for place in range(len(found.columns))
    ]
    headings = [f">{name}" if right else name for name, right in zip(found.columns, numbers, strict=True)]
    return table(headings, [map(_cell, row) for row in found.rows])


def _record(columns: Sequence[str], row: Sequence[Any]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for name, value in zip(columns, row, strict=True):
        grid.add_row(Text(f"  {name}"), Text(printable(_cell(value))))
    return grid


def _cell(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bytes():
            return value.hex()
        case list() | dict():
            return json.dumps(value, ensure_ascii=False, default=str)
        case _:
            return str(value)


def _document(found: Result, row: Sequence[Any]) -> dict[str, Any]:
    return {
        name: value.hex() if isinstance(value, bytes) else value
        for name, value in zip(found.columns, row, strict=True)
    }
