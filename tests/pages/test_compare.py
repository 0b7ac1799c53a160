"""docs/compare.md and examples/synchronous/README.md, command by command, on one stack of their own."""

import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support.pages import Step, does_what_it_shows, steps_of
from tests.support.stack import REPOSITORY, free_base

COMPARE = REPOSITORY / "docs/compare.md"
SYNCHRONOUS = REPOSITORY / "examples/synchronous/README.md"
FEW = " --pairs 3"
PORTS = ("8501", "8502")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    home = tmp_path_factory.mktemp("compare") / "home"
    settings = {"FANOUT_HOME": str(home), "FANOUT_PORT_BASE": str(free_base()), "COLUMNS": "200"}
    environment = os.environ | settings
    fanout = [REPOSITORY / ".venv/bin/fanout"]
    subprocess.run([*fanout, "up", "--owner-pid", str(os.getpid())], env=environment, check=True)
    yield environment
    subprocess.run([*fanout, "down", "--wipe"], env=environment, check=True)
    assert not home.exists()


@pytest.mark.timeout(300)
def test_the_page_about_comparing_does_what_it_shows(environment: dict[str, str]) -> None:
    steps = [
        replace(step, command=step.command + FEW) if step.command.startswith("fanout") else step
        for step in steps_of(COMPARE)
    ]
    assert sum(FEW in step.command for step in steps) == 3
    does_what_it_shows(steps, REPOSITORY, environment, seconds=290)


def test_the_page_about_the_synchronous_service_does_what_it_shows(environment: dict[str, str]) -> None:
    ports = dict(zip(PORTS, free_ports(), strict=True)) | {
        "8025": str(int(environment["FANOUT_PORT_BASE"]) + 25)
    }
    steps = [replace(step, command=with_ports(step, ports)) for step in steps_of(SYNCHRONOUS)]
    does_what_it_shows(steps, REPOSITORY, environment, seconds=120)


def with_ports(step: Step, ports: dict[str, str]) -> str:
    command = step.command
    for usual, free in ports.items():
        command = command.replace(usual, free)
    return command


def free_ports() -> tuple[str, str]:
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        return str(first.getsockname()[1]), str(second.getsockname()[1])
