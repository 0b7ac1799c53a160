"""Finds the addresses of the running system, for every command that talks to it."""

import json
import os
from dataclasses import dataclass, fields
from pathlib import Path

from chassis.config import Broker
from fanout.errors import NotRunning
from fanout.local.stack_directory import StackDirectory, current

ADDRESSES = "FANOUT_ADDRESSES"
"""Names the file of addresses in the `fanout` container of docker-compose.yml; unset everywhere else."""


@dataclass(frozen=True)
class Addresses:
    """`databases`, `apis` and `workers` are keyed by service name; database URLs are SQLAlchemy's."""

    kafka: str
    registry_url: str
    databases: dict[str, str]
    apis: dict[str, str]
    workers: dict[str, str]
    token_key: str = ""
    """The file of the private key that signs tokens."""
    traces: str = ""
    """Where a trace is shown, to which its id is appended; empty if nobody observes the system."""
    kafka_user: str = ""
    kafka_password: str = ""

    @property
    def broker(self) -> Broker:
        return Broker(self.kafka, self.kafka_user, self.kafka_password)


def in_container() -> bool:
    return bool(os.environ.get(ADDRESSES))


def running(directory: Path | None = None) -> Addresses:
    """Returns the addresses of the stack in `directory`, by default in $FANOUT_HOME, or raises NotRunning.

    Inside the `fanout` container these are the addresses of the other containers, whether they run or not.
    """
    if directory is None and in_container():
        try:
            return _read(Path(os.environ[ADDRESSES]))
        except FileNotFoundError:
            raise NotRunning("docker compose up --build --wait") from None
    from fanout.local.supervisor import Supervisor

    stack = StackDirectory(directory.absolute()) if directory else current()
    if not stack.stack_file.exists() or not Supervisor(stack).answers():
        raise NotRunning
    return _read(stack.stack_file)


def _read(file: Path) -> Addresses:
    content = json.loads(file.read_text())
    return Addresses(
        **{field.name: content[field.name] for field in fields(Addresses) if field.name in content}
    )
