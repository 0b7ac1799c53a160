"""Ends a process that is stuck, so that its supervisor starts another: a stuck one keeps its partitions for ever.

Only time in which the process ran counts, so that one that was frozen (SIGSTOP, a paused container, a machine that
slept) goes on when it is continued. Two alarms need no event loop: a thread counts its own turns while the loop makes
none, and where it cannot run either, because C code keeps Python's lock, a limit of processor time ends the process.
Both write down where every thread was.
"""

import asyncio
import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

import structlog

from chassis import pulse

BLOCKED_SECONDS = 60.0
TURN_SECONDS = 2.0
DOUBTS = 3
"""The loop may be late by a turn or two without being stuck."""
EXIT_BLOCKED = 1
EXIT_STUCK = 72

log = structlog.get_logger()


async def watch(
    is_alive: Callable[[], bool], blocked_seconds: float = BLOCKED_SECONDS, turn_seconds: float = TURN_SECONDS
) -> None:
    """Runs until it is cancelled, or until the process has ended."""
    alarm = _Alarm(blocked_seconds)
    doubts, turned_at = 0, time.monotonic()
    try:
        while True:
            alarm.rewind()
            doubts = 0 if is_alive() else doubts + 1
            if doubts >= DOUBTS:
                log.error("stuck")
                os._exit(EXIT_STUCK)
            await asyncio.sleep(turn_seconds)
            late = time.monotonic() - turned_at - turn_seconds
            if late > turn_seconds:
                log.warning("process_stood_still", seconds=round(late, 1))
                pulse.leave_out(late)
            turned_at = time.monotonic()
    finally:
        alarm.cancel()


class _Alarm:
    """Ends the process when nobody rewinds it for `seconds` of the process's own time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._blocked = 0.0
        self._cancelled = threading.Event()
        faulthandler.register(signal.SIGPROF, chain=True)
        threading.Thread(target=self._count, name="watchdog", daemon=True).start()

    def rewind(self) -> None:
        self._blocked = 0.0
        signal.setitimer(signal.ITIMER_PROF, self._seconds)

    def cancel(self) -> None:
        self._cancelled.set()
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.unregister(signal.SIGPROF)

    def _count(self) -> None:
        """A turn counts as one step however long it took: the process may have been frozen in it."""
        step = self._seconds / 60
        while not self._cancelled.wait(step):
            self._blocked += step
            if self._blocked >= self._seconds:
                print(
                    f"Timeout: the event loop was blocked for {self._seconds} s", file=sys.stderr, flush=True
                )
                faulthandler.dump_traceback(all_threads=True)
                os._exit(EXIT_BLOCKED)
