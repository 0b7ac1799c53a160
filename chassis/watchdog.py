"""Ends a process that is stuck, so that its supervisor starts another: a stuck one keeps its partitions for ever.

The event loop winds up an alarm again and again. If it is blocked the alarm goes off, in a thread that needs neither
the loop nor Python's lock: it writes down where every thread was, and ends the process.
"""

import asyncio
import faulthandler
import os
from collections.abc import Callable

import structlog

BLOCKED_SECONDS = 60.0
TURN_SECONDS = 2.0
DOUBTS = 3
"""A process that was frozen and goes on looks dead for a moment."""
EXIT_STUCK = 72

log = structlog.get_logger()


async def watch(
    is_alive: Callable[[], bool], blocked_seconds: float = BLOCKED_SECONDS, turn_seconds: float = TURN_SECONDS
) -> None:
    """Until it is cancelled, or the process has ended."""
    doubts = 0
    try:
        while True:
            faulthandler.dump_traceback_later(blocked_seconds, exit=True)
            doubts = 0 if is_alive() else doubts + 1
            if doubts >= DOUBTS:
                log.error("stuck")
                os._exit(EXIT_STUCK)
            await asyncio.sleep(turn_seconds)
    finally:
        faulthandler.cancel_dump_traceback_later()
