"""`python -m tests.benchmarks.logs`: what a log line costs, and the share of a worker's CPU that lines can take.

Prints the CPU of one line about an event, and of an event that is not logged any more because lines were many.
"""

import sys
import time

import structlog

from chassis.telemetry import logs
from chassis.telemetry.logs import LINES_PER_SECOND, LineBudget, configure_logging, log_each

LINES = 20_000
FIELDS = {
    "topic": "orders",
    "partition": 3,
    "offset": 123_456,
    "event_id": "019ac1f0-0000-7000-8000-000000000000",
    "order_id": "019ac1f0-0000-7000-8000-000000000001",
    "trace_id": "0" * 32,
}
EVENT_MICROSECONDS = 60.0
"""What an event costs a worker in the largest batches (`python -m tests.benchmarks`): the least there is."""


def cpu_microseconds(lines: int) -> float:
    log = structlog.get_logger()
    began = time.process_time()
    for _ in range(lines):
        log_each(log, "event_applied", [FIELDS], dict)
    return (time.process_time() - began) / lines * 1e6


def main() -> None:
    """Prints to standard error, since the lines themselves go to standard output."""
    configure_logging("benchmark", "worker", "INFO")
    logs._budget = LineBudget(float("inf"))
    line = cpu_microseconds(LINES)
    logs._budget = LineBudget(LINES_PER_SECOND)
    silent = cpu_microseconds(LINES)
    most = LINES_PER_SECOND * line / 1e6
    print(
        f"a line {line:.1f} µs of CPU; an event without one {silent:.1f} µs "
        f"({silent / EVENT_MICROSECONDS:.1%} of an event in the largest batches); "
        f"{LINES_PER_SECOND:.0f} lines a second take {most:.2%} of a processor",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
