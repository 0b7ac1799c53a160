"""Which processes of services there are in containers, found like everywhere else: a folder, and an api.py in it."""

from dataclasses import dataclass
from pathlib import Path

from fanout.local.stack_directory import REPOSITORY

OPERATOR = "operator"
SETUP = "setup"
BROKER = "broker"


@dataclass(frozen=True)
class Process:
    """`name` is its container, `login` what it is called in Postgres and, if it is a worker, in Kafka."""

    service: str
    role: str

    @property
    def name(self) -> str:
        return f"{self.service}-{self.role}"

    @property
    def login(self) -> str:
        return f"{self.service}_{self.role}"


def workers() -> list[Process]:
    return [Process(file.parent.name, "worker") for file in _files("service.py")]


def apis() -> list[Process]:
    return [Process(file.parent.name, "api") for file in _files("api.py")]


def processes() -> list[Process]:
    return [*workers(), *apis()]


def _files(name: str) -> list[Path]:
    return sorted((REPOSITORY / "services").glob(f"*/{name}"))
