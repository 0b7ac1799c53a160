"""docs/observability.md, command by command, in a stack directory of its own; what it says of containers is not run."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.pages import does_what_it_shows, steps_of
from tests.support.stack import REPOSITORY, free_base


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    settings = {"FANOUT_HOME": str(tmp_path / "home"), "FANOUT_PORT_BASE": str(free_base()), "COLUMNS": "120"}
    environment = os.environ | settings | {"PATH": f"{REPOSITORY / '.venv/bin'}:{os.environ['PATH']}"}
    yield environment
    subprocess.run(["fanout", "down", "--wipe"], cwd=REPOSITORY, env=environment, check=True)
    assert not (tmp_path / "home").exists()


@pytest.mark.timeout(400)
def test_the_page_about_traces_lag_and_alerts_does_what_it_shows(environment: dict[str, str]) -> None:
    ports = f":{int(environment['FANOUT_PORT_BASE']) // 100}"
    steps = [
        replace(step, command=step.command.replace(":80", ports), shown=step.shown.replace(":80", ports))
        for step in steps_of(REPOSITORY / "docs/observability.md")
    ]
    does_what_it_shows(steps, REPOSITORY, environment, seconds=390)
