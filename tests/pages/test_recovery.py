"""docs/recovery.md, command by command, in a stack directory of its own."""

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
    settings = {"FANOUT_HOME": str(tmp_path / "home"), "FANOUT_PORT_BASE": str(free_base()), "COLUMNS": "140"}
    environment = os.environ | settings
    yield environment
    for left in ("before.txt", "analytics.dump", "notifications.dump", "payments.dump"):
        (REPOSITORY / left).unlink(missing_ok=True)
    subprocess.run([".venv/bin/fanout", "down", "--wipe"], cwd=REPOSITORY, env=environment, check=True)


@pytest.mark.timeout(400)
def test_what_was_lost_is_brought_back_as_the_page_shows(environment: dict[str, str]) -> None:
    home, postgres = environment["FANOUT_HOME"], int(environment["FANOUT_PORT_BASE"]) + 20
    steps = [
        replace(step, command=step.command.replace(".fanout/", f"{home}/").replace("8020", str(postgres)))
        for step in steps_of(REPOSITORY / "docs/recovery.md")
    ]
    does_what_it_shows(steps, REPOSITORY, environment, seconds=390)
