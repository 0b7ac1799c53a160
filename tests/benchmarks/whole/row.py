"""One row of the table: what is measured, what is asked, and how the figures are said."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.benchmarks.whole.ground import Ground

Figures = dict[str, float]


@dataclass(frozen=True)
class Row:
    """`measure` returns named figures; `said` is a format string that may use all of them."""

    name: str
    what: str
    asked: str
    said: str
    measure: Callable[[Ground], Awaitable[Figures]]

    def line(self, figures: Figures) -> str:
        return f"{self.what} | {self.asked} | {self.said.format(**figures)}"
