"""docs/containers.md, command by command, and docs/walkthrough.md as it says that it differs with containers.

Only the first and the last command, `up` and `down`, are those of the fixture, which owns the containers.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.containers import Containers
from tests.support.pages import Step, does_what_it_shows, steps_of
from tests.support.stack import REPOSITORY

UP, DOWN = "docker compose up --build --wait", "docker compose down"
WALKTHROUGH = REPOSITORY / "docs/walkthrough.md"
INSTEAD = re.compile(r"`([^`]+)`\s+instead\s+of\s+`([^`]+)`")
PORT = re.compile(r"localhost:81(\d\d)")
APIS = {"01": "ORDERS", "02": "PAYMENTS"}


@pytest.mark.timeout(400)
def test_the_page_about_containers_does_what_it_shows(containers: Containers) -> None:
    first, *steps, last = steps_of(REPOSITORY / "docs/containers.md")
    assert (first, last) == (Step(UP, ""), Step(f"{DOWN} -v", ""))
    does_what_it_shows(steps, containers.repository, containers.environment, seconds=390)


@pytest.fixture
def with_one_worker(containers: Containers) -> Iterator[Containers]:
    yield containers
    containers.compose("up", "--detach", "--no-recreate", "--scale", "inventory-worker=1")


@pytest.mark.timeout(400)
def test_the_walkthrough_does_with_containers_what_it_shows(with_one_worker: Containers) -> None:
    containers = with_one_worker
    first, *steps, last = with_containers(WALKTHROUGH)
    assert (first, last) == (Step(UP, ""), Step(DOWN, ""))

    def published(port: re.Match[str]) -> str:
        return f"localhost:{containers.environment[f'FANOUT_{APIS[port[1]]}_PORT']}"

    own = [replace(step, command=PORT.sub(published, step.command)) for step in steps]
    does_what_it_shows(own, containers.repository, containers.environment | {"COLUMNS": "120"}, seconds=390)


def with_containers(page: Path) -> Iterator[Step]:
    """Yields the commands of a page with what it says instead; what is replaced as a whole shows something else."""
    replaced = {ours: theirs for theirs, ours in INSTEAD.findall(page.read_text())}
    assert replaced, f"{page} says of no command what to type instead"
    unused = set(replaced)
    for step in steps_of(page):
        command = step.command
        for ours, theirs in replaced.items():
            if ours in command:
                command = command.replace(ours, theirs)
                unused.discard(ours)
        yield Step(command, "" if step.command in replaced else step.shown)
    assert not unused, f"{page} has no such command: {unused}"
