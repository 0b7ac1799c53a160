"""What supervisor is told about one process of the local stack."""

import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Process:
    name: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    ports: tuple[int, ...] = ()
    folder: Path | None = None
    stop_signal: str = "TERM"
    stop_seconds: int = 20
    priority: int = 500  # supervisor starts low numbers first and stops them last


def environment(more: dict[str, str]) -> dict[str, str]:
    """Returns what a process inherits: our environment without the FANOUT_ settings, and `more`."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FANOUT_")} | more
