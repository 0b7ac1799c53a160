"""Ends a process that makes no progress, so that its supervisor restarts it and its partitions are read again.

`watch` ends the process when its consumer or relay reports that it is stuck. Two alarms work without the event loop:
a thread, for a blocked loop, and a CPU timer, for C code that holds Python's lock so that no thread runs. Both print
the stack of every thread. Time during which the process was frozen (SIGSTOP, a paused container, a sleeping machine)
does not count.
"""

import asyncio
import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar

import structlog

BLOCKED_SECONDS = 60.0
CHECK_SECONDS = 2.0
FAILED_CHECKS = 3
"""So many failed checks in a row end the process: a single one may only be late."""
EXIT_BLOCKED = 1
EXIT_STUCK = 72

log = structlog.get_logger()


async def watch(
    is_alive: Callable[[], bool],
    blocked_seconds: float = BLOCKED_SECONDS,
    check_seconds: float = CHECK_SECONDS,
) -> None:
    """Checks `is_alive` until cancelled. Ends the process if it stays False or if the event loop is blocked."""
    alarm = _Alarm(blocked_seconds)
    failed, checked_at = 0, time.monotonic()
    try:
        while True:
            alarm.reset()
            failed = 0 if is_alive() else failed + 1
            if failed >= FAILED_CHECKS:
                log.error("process_stuck")
                os._exit(EXIT_STUCK)
            await asyncio.sleep(check_seconds)
            late = time.monotonic() - checked_at - check_seconds
            if late > check_seconds:
                log.warning("process_was_frozen", seconds=round(late, 1))
                _exclude_frozen_time(late)
            checked_at = time.monotonic()
    finally:
        alarm.cancel()


class Heartbeat:
    """Records when a task last made progress: at each transaction and at each retry during an outage."""

    def __init__(self) -> None:
        self._last = running_seconds()

    def beat(self) -> None:
        self._last = running_seconds()

    @property
    def silent_seconds(self) -> float:
        """Seconds since the last beat, without the time in which the process was frozen."""
        return running_seconds() - self._last


_heartbeat: ContextVar[Heartbeat | None] = ContextVar("heartbeat", default=None)


def set_heartbeat(heartbeat: Heartbeat) -> None:
    """Makes `beat()` in the current task beat this heartbeat."""
    _heartbeat.set(heartbeat)


def beat() -> None:
    """Beats the heartbeat of the current task, if it has one."""
    if (heartbeat := _heartbeat.get()) is not None:
        heartbeat.beat()


_frozen_seconds = 0.0


def running_seconds() -> float:
    """Returns `time.monotonic()` without the time in which this process was frozen."""
    return time.monotonic() - _frozen_seconds


def _exclude_frozen_time(seconds: float) -> None:
    global _frozen_seconds
    _frozen_seconds += seconds


class _Alarm:
    """Ends the process if `reset` is not called for `seconds` of the process's own running time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._blocked = 0.0
        self._cancelled = threading.Event()
        faulthandler.register(signal.SIGPROF, chain=True)
        threading.Thread(target=self._count, name="watchdog", daemon=True).start()

    def reset(self) -> None:
        self._blocked = 0.0
        signal.setitimer(signal.ITIMER_PROF, self._seconds)

    def cancel(self) -> None:
        self._cancelled.set()
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.unregister(signal.SIGPROF)

    def _count(self) -> None:
        """Counts a step as one sixtieth of `seconds` however long it took: the process may have been frozen in it."""
        step = self._seconds / 60
        while not self._cancelled.wait(step):
            self._blocked += step
            if self._blocked >= self._seconds:
                message = f"Timeout: the event loop was blocked for {self._seconds} s"
                print(message, file=sys.stderr, flush=True)
                faulthandler.dump_traceback(all_threads=True)
                os._exit(EXIT_BLOCKED)
