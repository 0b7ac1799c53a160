"""Says at once which process of the local stack is stopped, before a command waits for what cannot come."""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress

from fanout.errors import FanoutError
from fanout.local.stack_directory import current
from fanout.running import in_container

KAFKA = "kafka"
TITLES = {KAFKA: "Kafka"}
"""The processes that are written differently in a sentence."""


class Stopped(FanoutError):
    exit_code = 2

    def __init__(self, name: str) -> None:
        super().__init__(how_to_start(name))


def require_started(*names: str) -> None:
    """Raises Stopped for the first of these processes that is stopped. Several workers are one: all must be stopped.

    Raises nothing where nothing is known: in a container, and when no supervisor answers.
    """
    if name := first_stopped(names, down_by_process()):
        raise Stopped(name)


def how_to_start(process: str) -> str:
    return f"{TITLES.get(process, process)} is stopped: fanout start {process}"


def down_by_process() -> dict[str, bool]:
    """Returns whether each process of the local stack is down; nothing where there is none."""
    if in_container():
        return {}
    from fanout.local.supervisor import Supervisor

    with suppress(FanoutError):
        return {state.name: state.is_down for state in Supervisor(current()).states()}
    return {}


def first_stopped(names: Iterable[str], down: Mapping[str, bool]) -> str | None:
    """Returns the first name whose processes are all down; one that the stack does not have is not."""
    for name in names:
        found = [
            is_down
            for process, is_down in down.items()
            if re.fullmatch(rf"{re.escape(name)}(-\d+)?", process)
        ]
        if found and all(found):
            return name
    return None
