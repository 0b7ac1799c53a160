"""Where the parts of a running stack are, for every command that talks to one."""

import json
from dataclasses import dataclass, fields
from pathlib import Path

from fanout.errors import NotRunning
from fanout.stack.home import Home, current
from fanout.stack.supervisor import Supervisor


@dataclass(frozen=True)
class Addresses:
    """`databases`, `apis` and `workers` are keyed by service name; database URLs are SQLAlchemy's."""

    kafka: str
    registry_url: str
    databases: dict[str, str]
    apis: dict[str, str]
    workers: dict[str, str]


def running(home: Path | None = None) -> Addresses:
    """The addresses of the stack in `home` (default: $FANOUT_HOME), or NotRunning."""
    found = Home(home.absolute()) if home else current()
    if not found.stack_file.exists() or not Supervisor(found).answers():
        raise NotRunning
    content = json.loads(found.stack_file.read_text())
    return Addresses(**{field.name: content[field.name] for field in fields(Addresses)})
