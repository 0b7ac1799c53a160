"""`fanout --compose status`: what runs, in the same table as that of the local stack."""

import json
import re
import time
from datetime import datetime
from typing import Annotated, Any

import typer

from fanout.commands.status import Row, show
from fanout.compose.docker import Container, containers, docker
from fanout.errors import NotRunning

UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
USED = re.compile(r"([\d.]+)\s*([KMG]?i?B)")


def command(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show each container with state, pid, uptime, restarts and memory, and the sum of the memory.

    Example: fanout --compose status --json
    """
    show(rows(), as_json)


def rows() -> list[Row]:
    known = containers()
    if not known:
        raise NotRunning("fanout --compose up")
    ids = [container.id for container in known]
    inspected = {each["Id"]: each for each in json.loads(docker("inspect", *ids))}
    memory = _memory([container.id for container in known if container.state == "running"])
    return [_row(container, _of(inspected, container.id), memory) for container in known]


def _row(container: Container, inspected: dict[str, Any], memory: dict[str, int]) -> Row:
    state = inspected["State"]
    runs = container.state == "running"
    since = datetime.fromisoformat(state["StartedAt"][:19] + "+00:00").timestamp()
    return Row(
        process=container.service,
        state=_state(container),
        pid=state["Pid"] or None,
        uptime_seconds=max(int(time.time() - since), 0) if runs else 0,
        restarts=inspected["RestartCount"],
        memory_bytes=memory.get(inspected["Id"][:12], 0),
    )


def _state(container: Container) -> str:
    if container.state != "running" or container.health in ("", "healthy"):
        return container.state.upper()
    return container.health.upper()


def _memory(ids: list[str]) -> dict[str, int]:
    if not ids:
        return {}
    lines = docker("stats", "--no-stream", "--format", "{{.ID}} {{.MemUsage}}", *ids).splitlines()
    return {line.split()[0][:12]: _bytes(line.split(maxsplit=1)[1]) for line in lines}


def _bytes(usage: str) -> int:
    found = USED.match(usage)
    return round(float(found[1]) * UNITS[found[2]]) if found else 0


def _of(inspected: dict[str, Any], short: str) -> dict[str, Any]:
    return next(each for full, each in inspected.items() if full.startswith(short[:12]))
