"""Draws the pictures of the README from what `fanout demo` and `fanout order` print: `python -m docs.pictures`.

The demo starts the stack of $FANOUT_HOME if it does not run, and leaves it running.
"""

import os
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

FOLDER = Path(__file__).parent
WIDTH = 110
COLOURED = {"FORCE_COLOR": "1", "TTY_INTERACTIVE": "0", "COLUMNS": str(WIDTH)}
WITHOUT_WEB_FONTS = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
ORDER = re.compile(r"order (\w{8}(?:-\w{4}){3}-\w{12}), placed")


def main() -> None:
    demo = printed("fanout", "demo")
    order_id = ORDER.search(Text.from_ansi(demo).plain)
    assert order_id, "the demo shows no order"
    order = printed("fanout", "order", order_id[1])
    draw("demo", "make demo", end_of(demo))
    draw("order", f"fanout order {order_id[1]}", order)


def printed(*command: str) -> str:
    """Returns what the command writes to standard output, with its colours."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        env=os.environ | COLOURED,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def end_of(demo: str) -> str:
    """Leaves out the timeline, which has a picture of its own."""
    lines = demo.splitlines()
    plain = [Text.from_ansi(line).plain for line in lines]
    first = next(number for number, line in enumerate(plain) if ORDER.match(line)) - 1
    last = next(number for number, line in enumerate(plain) if line == "go on")
    return "\n".join(lines[:first] + lines[last:])


def draw(name: str, title: str, output: str) -> None:
    console = Console(record=True, file=StringIO(), width=WIDTH)
    console.print(Text.from_ansi(output.rstrip()))
    svg = console.export_svg(title=title, code_format=WITHOUT_WEB_FONTS, unique_id=name)
    (FOLDER / f"{name}.svg").write_text(svg)


if __name__ == "__main__":
    main()
