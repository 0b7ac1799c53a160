"""A sign of life of whatever works in a task: it feels its pulse with each transaction and each try in an outage."""

import time
from contextvars import ContextVar

_left_out = 0.0


def running_seconds() -> float:
    """Like time.monotonic, without the time in which this process stood still."""
    return time.monotonic() - _left_out


def leave_out(seconds: float) -> None:
    """Called by the watchdog, which notices that the process was frozen."""
    global _left_out
    _left_out += seconds


class Pulse:
    def __init__(self) -> None:
        self._last = running_seconds()

    def beat(self) -> None:
        self._last = running_seconds()

    @property
    def silent_seconds(self) -> float:
        return running_seconds() - self._last


_mine: ContextVar[Pulse | None] = ContextVar("pulse", default=None)


def adopt(pulse: Pulse) -> None:
    """From here on the beats of this task are this pulse's."""
    _mine.set(pulse)


def beat() -> None:
    if (pulse := _mine.get()) is not None:
        pulse.beat()
