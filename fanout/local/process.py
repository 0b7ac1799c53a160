"""One process of the local stack, as it is described to supervisor and to the launcher."""

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
    service: str = ""

    @property
    def code(self) -> list[str]:
        """Returns the folders that it loads our code from; none for a server, which is not restarted for our code."""
        return ["chassis", "schemas", f"services/{self.service}"] if self.service else []
