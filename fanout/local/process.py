"""What supervisor is told about one process of the stack."""

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
    """What a process of ours inherits: everything but our own settings, which it is given one by one."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FANOUT_")} | more
