"""A sign of life of whatever works in a task: it feels its pulse with each transaction and each try in an outage."""

from contextvars import ContextVar
from time import monotonic


class Pulse:
    def __init__(self) -> None:
        self._last = monotonic()

    def beat(self) -> None:
        self._last = monotonic()

    @property
    def silent_seconds(self) -> float:
        return monotonic() - self._last


_mine: ContextVar[Pulse | None] = ContextVar("pulse", default=None)


def adopt(pulse: Pulse) -> None:
    """From here on the beats of this task are this pulse's."""
    _mine.set(pulse)


def beat() -> None:
    if (pulse := _mine.get()) is not None:
        pulse.beat()
