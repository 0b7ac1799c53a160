"""What `fanout compare` prints: a table, bars, and sentences; and the same as JSON or as a picture."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import StringIO
from typing import Any

from rich.bar import Bar
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from fanout.compare.samples import SIDES, Figures, Row, Side, ratio
from fanout.console import table

COLOURS: dict[Side, str] = {"synchronous": "red", "events": "green"}
BAR_WIDTH = 36
PICTURE_WIDTH = 96
WEB_FONTS = re.compile(r"@font-face \{.*?\}", re.DOTALL)
NEVER = "never"


@dataclass(frozen=True, slots=True)
class Headings:
    """What the conditions are, and what the effect is: a word for the table, the whole for the bars."""

    title: str
    condition: str
    effect: str
    effect_in_full: str


MAIL_SERVER = Headings(
    "the same payments, by how long the mail server takes for a mail",
    *("mail", "sent", "mail to the customer sent after"),
)
LISTENERS = Headings(
    "the same payments, by how many listeners want to know of them",
    *("number", "done", "last listener done after"),
)


def report(rows: Sequence[Row], headings: Headings, sentences: Sequence[str], wraps: bool = True) -> Group:
    """Returns table, bars and sentences; without `wraps` each of these is one line, however long."""
    return Group(
        Text(headings.title, "bold"),
        _table(rows, headings),
        _bars("answered after (p50)", rows, [row.figures.answer_p50 for row in rows]),
        Text(),
        _bars(f"{headings.effect_in_full} (p50)", rows, [row.figures.effect_p50 for row in rows]),
        *([Text()] if sentences else []),
        *(Text(each) if wraps else Text(each, no_wrap=True, overflow="ignore") for each in sentences),
    )


def as_json(rows: Sequence[Row], more: dict[str, Any]) -> dict[str, Any]:
    """Returns the figures by condition and side, with times in seconds."""
    conditions: dict[str, dict[str, Any]] = {}
    for row in rows:
        conditions.setdefault(row.condition, {})[row.side] = {
            name: round(value, 4) if isinstance(value, float) else value
            for name, value in asdict(row.figures).items()
        }
    return {"conditions": conditions, **more}


def svg(printed: Group, title: str) -> str:
    """Returns a picture of what is printed, without fonts from the web."""
    console = Console(record=True, file=StringIO(), width=PICTURE_WIDTH)
    console.print(printed)
    return WEB_FONTS.sub("", console.export_svg(title=title))


def ratios(rows: Sequence[Row], condition: str, base: str) -> dict[Side, float]:
    return {side: ratio(rows, side, condition, base) for side in SIDES}


def _table(rows: Sequence[Row], named: Headings) -> Table:
    effect = named.effect
    headings = [
        named.condition,
        "side",
        ">answer p50",
        ">p99",
        ">ok",
        f">{effect} p50",
        ">p99 ",
        f">{effect}",
    ]
    cells = [[row.condition, row.side, *_cells(row.figures)] for row in rows]
    return table(headings, cells, unbroken=[heading.removeprefix(">") for heading in headings])


def _cells(found: Figures) -> list[str]:
    return [
        span(found.answer_p50),
        span(found.answer_p99),
        f"{found.accepted / found.payments:.0%}",
        span(found.effect_p50),
        span(found.effect_p99),
        f"{found.effects}/{found.payments}",
    ]


def _bars(title: str, rows: Sequence[Row], values: Sequence[float | None]) -> Group:
    longest = max((value for value in values if value), default=1.0)
    grid = Table.grid(padding=(0, 1))
    for row, value in zip(rows, values, strict=True):
        bar = Bar(longest, 0, value or 0, width=BAR_WIDTH, color=COLOURS[row.side])
        grid.add_row(row.condition, Text(row.side, COLOURS[row.side]), bar, span(value))
    return Group(Text(title, "bold"), grid)


def span(seconds: float | None) -> str:
    """Returns a time as people read it."""
    if seconds is None:
        return NEVER
    return f"{seconds * 1000:.0f} ms" if seconds < 0.9995 else f"{seconds:.1f} s"
