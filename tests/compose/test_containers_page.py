"""docs/containers.md, command by command; only `up` and `down -v` are the fixture's, which owns the containers."""

import pytest

from tests.support.containers import Containers
from tests.support.pages import Step, does_what_it_shows, steps_of
from tests.support.stack import REPOSITORY

UP, DOWN = "docker compose up --build --wait", "docker compose down -v"


@pytest.mark.timeout(400)
def test_the_page_about_containers_does_what_it_shows(containers: Containers) -> None:
    first, *steps, last = steps_of(REPOSITORY / "docs/containers.md")
    assert (first, last) == (Step(UP, ""), Step(DOWN, ""))
    does_what_it_shows(steps, containers.repository, containers.environment, seconds=390)
