"""Says how it goes: one line that changes on a terminal, a new line now and then everywhere else."""

from time import monotonic
from types import TracebackType

from rich.console import Console

PAUSE = 2.0
"""Seconds between two lines where lines cannot be changed."""


class Ticker:
    def __init__(self, console: Console) -> None:
        self._console = console
        lines_can_change = console.is_terminal and not console.is_dumb_terminal
        self._status = console.status("", refresh_per_second=4) if lines_can_change else None
        self._said = ""
        self._at = 0.0

    def __enter__(self) -> "Ticker":
        if self._status:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status:
            self._status.stop()

    def tell(self, text: str) -> None:
        if self._status:
            self._status.update(text)
        elif text != self._said and monotonic() - self._at >= PAUSE:
            self._said, self._at = text, monotonic()
            self._console.print(f"  {text}", highlight=False)
