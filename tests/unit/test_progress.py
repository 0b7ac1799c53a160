"""Progress is one line of the terminal, whatever it says."""

from io import StringIO

import pytest
from rich.console import Console

from fanout.console import fitted, progress

LONG = "in flight: " + ", ".join(f"{name} {number}" for number, name in enumerate(["fulfillment"] * 9))
CURSOR_UP = "\x1b[1A"


@pytest.mark.parametrize("width", [20, 79, 80, 120])
def test_progress_takes_one_line_of_a_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    page = StringIO()
    console = Console(file=page, width=width, force_terminal=True, highlight=False)
    with progress(console) as tell:
        tell(LONG)
    assert page.getvalue().count(CURSOR_UP) == 1, "more lines than one are cleared at the end"
    assert "in flight" in page.getvalue()


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("fraud 1, orders 2", 17, "fraud 1, orders 2"),
        ("fraud 1, orders 20", 17, "fraud 1, …"),
        ("fraud 1, orders 2, payments 3", 19, "fraud 1, …"),
        ("fraud 1, orders 2, payments 3", 20, "fraud 1, orders 2, …"),
        ("one long word", 8, "one lon…"),
    ],
)
def test_what_does_not_fit_is_left_out_item_by_item(text: str, width: int, shown: str) -> None:
    assert fitted(text, width) == shown and len(shown) <= width


def test_elsewhere_than_on_a_terminal_nothing_is_left_out() -> None:
    page = StringIO()
    with progress(Console(file=page, width=40)) as tell:
        tell(LONG)
    assert page.getvalue() == f"  {LONG}\n"
