"""Where the parts of a running stack are, for every command that talks to one; processes or containers alike."""

import json
import os
from dataclasses import dataclass, fields
from pathlib import Path

from chassis.config import Broker
from fanout.errors import NotRunning
from fanout.local.stack_directory import StackDirectory, current

COMPOSE = "FANOUT_COMPOSE"


@dataclass(frozen=True)
class Addresses:
    """`databases`, `apis` and `workers` are keyed by service name; database URLs are SQLAlchemy's.

    The workers of containers show their health to their own container only.
    """

    kafka: str
    registry_url: str
    databases: dict[str, str]
    apis: dict[str, str]
    workers: dict[str, str]
    kafka_user: str = ""
    kafka_password: str = ""

    @property
    def broker(self) -> Broker:
        return Broker(self.kafka, self.kafka_user, self.kafka_password)


def in_compose() -> bool:
    return os.environ.get(COMPOSE, "") not in ("", "0")


def running(home: Path | None = None) -> Addresses:
    """The addresses of the containers, or of the stack in `home` (default: $FANOUT_HOME); or NotRunning."""
    if home is None and in_compose():
        from fanout.compose.addresses import running as of_containers

        return of_containers()
    from fanout.local.supervisor import Supervisor

    found = StackDirectory(home.absolute()) if home else current()
    if not found.stack_file.exists() or not Supervisor(found).answers():
        raise NotRunning
    content = json.loads(found.stack_file.read_text())
    return Addresses(
        **{field.name: content[field.name] for field in fields(Addresses) if field.name in content}
    )
