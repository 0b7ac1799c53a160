"""Says when this machine is too busy for its figures to be those of the system."""

import os
from typing import NamedTuple

BUSY = 1.5
"""Processes that want to run, for each processor, from which on answers take visibly longer."""


class Load(NamedTuple):
    """The load average of the last minute: how many processes ran or wanted to run."""

    average: float
    processors: int

    @property
    def is_high(self) -> bool:
        return self.average >= BUSY * self.processors


def load() -> Load:
    """Returns the load now; 0 where the system does not say."""
    try:
        average = os.getloadavg()[0]
    except OSError:
        average = 0.0
    return Load(average, processors())


def processors() -> int:
    """Returns how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def explanation(now: Load, before: Load) -> str | None:
    """Returns why figures are high, if the machine is busy, and how much of that was so before; else None."""
    if not now.is_high:
        return None
    wanted = f"{now.average:.1f} processes want to run on {now.processors} processors"
    if before.is_high:
        return (
            f"this machine is busy, and was before ({wanted}, {before.average:.1f} before): these times are longer "
            "than on an idle one"
        )
    return f"this machine is busy ({wanted}): Kafka, Postgres, all services and the customers share them"
