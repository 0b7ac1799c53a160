"""`python -m tests.benchmarks.whole`: how much the whole system carries, and what an order costs.

On the running stack (`fanout up`), quiet: nothing else running. Cards only, open loop, from a process of its own;
CPU is that of all processes of the stack, from the operating system's accounting. It prints and never fails.

Example: python -m tests.benchmarks.whole --only 30 400 --rounds 3
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from statistics import median
from typing import Any

from chassis.telemetry.logs import configure_logging
from fanout.running import running
from tests.benchmarks.whole import apart, bare_posts, flood, others, rates, raw_rows, statements
from tests.benchmarks.whole.ground import Ground
from tests.benchmarks.whole.row import Figures, Row

ROWS: list[Row] = [
    row for module in (rates, apart, others, bare_posts, raw_rows, statements, flood) for row in module.ROWS
]
"""The flood comes last: the ledger of what it leaves behind takes long to read."""


async def main(rows: Sequence[Row], rounds: int, scale: float, as_json: bool) -> None:
    began, task = time.monotonic(), asyncio.current_task()
    assert task
    # Also a terminated run leaves the stack as it was.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)

    def note(text: str) -> None:
        print(f"  [{time.monotonic() - began:4.0f} s] {text}", file=sys.stderr, flush=True)

    ground = Ground(running(), note, scale)
    await ground.top_up_stock()
    results: list[dict[str, Any]] = []
    for row in rows:
        found = []
        for number in range(1, rounds + 1):
            note(f"{row.name}, round {number} of {rounds}; load average {os.getloadavg()[0]:.2f}")
            if figures := await measured(row, ground):
                found.append(figures)
                if rounds > 1:
                    note(row.line(figures))
        middle = {name: median(figures[name] for figures in found) for name in found[0]} if found else {}
        results.append(
            {"name": row.name, "what": row.what, "asked": row.asked, "figures": middle, "rounds": found}
        )
        if not as_json:
            print(row.line(middle) if middle else f"{row.what} | {row.asked} | FAILED", flush=True)
    if as_json:
        print(json.dumps(results, indent=2))


async def measured(row: Row, ground: Ground) -> Figures | None:
    """A row that breaks costs itself only."""
    try:
        return await row.measure(ground)
    except Exception:
        ground.note(traceback.format_exc())
        return None


if __name__ == "__main__":
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(
        "python -m tests.benchmarks.whole",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help="Measure these rows only.")
    parser.add_argument("--list", action="store_true", help="Show the names of the rows.")
    parser.add_argument("--rounds", type=int, default=1, help="Medians of so many rounds of each row.")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="Place this share of the orders, to try it out."
    )
    parser.add_argument("--json", action="store_true", help="Print all figures as JSON at the end.")
    given = parser.parse_args()
    if given.list:
        print("\n".join(f"{row.name:12} {row.what}" for row in ROWS))
        sys.exit()
    configure_logging("benchmark", "benchmark", "WARNING")
    chosen = [row for row in ROWS if not given.only or row.name in given.only]
    asyncio.run(main(chosen, given.rounds, given.scale, given.json))
