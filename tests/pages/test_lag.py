"""docs/lag.md, command by command, in a stack directory of its own."""

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
    for left in ("exporter.log", "slo.txt", "keep.py"):
        (REPOSITORY / left).unlink(missing_ok=True)
    subprocess.run([".venv/bin/fanout", "down", "--wipe"], cwd=REPOSITORY, env=environment, check=True)


@pytest.mark.timeout(400)
def test_lag_grows_is_told_and_drains_as_the_page_shows(environment: dict[str, str]) -> None:
    home, base = environment["FANOUT_HOME"], int(environment["FANOUT_PORT_BASE"])
    changes = {".fanout/": f"{home}/"} | {f"80{n}": str(base + n) for n in (20, 21, 30)}
    steps = steps_of(REPOSITORY / "docs/lag.md")
    for old, new in changes.items():
        steps = [replace(step, command=step.command.replace(old, new)) for step in steps]
    does_what_it_shows(steps, REPOSITORY, environment, seconds=390)
