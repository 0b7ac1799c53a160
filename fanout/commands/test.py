"""`fanout test`: runs the tests of one service on the running Postgres."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from fanout.console import say
from fanout.errors import BadUsage, FanoutError, UnknownService
from fanout.repository import REPOSITORY, services

PATTERNS = (
    "services/{name}/test_*.py",
    "tests/unit/test_domain_{name}.py",
    "tests/integration/test_handlers_{name}.py",
    "tests/integration/test_api_{name}*.py",
)
QUICKLY = ("-o", "addopts=", "-p", "no:schemathesis", "-p", "no:hypothesispytest")
"""No list of durations, and none of the plugins that take a second to import and are not needed here."""


def command(
    service: Annotated[str, typer.Argument(help="A service, as its folder is called.", show_default=False)],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[-- ARGUMENTS]", help="For pytest.", show_default=False)
    ] = None,
) -> None:
    """Run the tests of one service: those in its folder, and those of tests/ that are named after it.

    They use databases of their own in the Postgres of the running stack, or a temporary Postgres if none runs. The exit
    code is that of pytest: 0 if all passed.

    Example: fanout test fraud -- -x -k late
    """
    files = _files(service)
    with _postgres() as settings:
        code = _pytest([*files, *(arguments or [])], settings)
    raise typer.Exit(code)


def _files(service: str) -> list[str]:
    if service not in services():
        raise UnknownService(service, services())
    found = [file for pattern in PATTERNS for file in sorted(REPOSITORY.glob(pattern.format(name=service)))]
    if not found:
        raise BadUsage(f"{service} has no tests: write services/{service}/test_{service}.py")
    return [str(file.relative_to(REPOSITORY)) for file in found]


@contextmanager
def _postgres() -> Iterator[dict[str, str]]:
    """Yields the variables that tell the tests which Postgres, or which stack, to use."""
    from fanout.local.stack_directory import current
    from fanout.local.supervisor import Supervisor

    directory = current()
    supervisor = Supervisor(directory)
    if supervisor.answers():
        if not supervisor.state("postgres").is_alive:
            raise FanoutError("the postgres of the running stack is stopped: fanout start postgres")
        yield {"FANOUT_TEST_HOME": str(directory.path)}
        return

    from fanout.local.ports import HOST
    from fanout.local.temporary_postgres import PASSWORD, temporary_postgres, until_ready

    say("no stack is running: the tests get a temporary Postgres, which takes longer")
    with temporary_postgres() as ports:
        asyncio.run(until_ready(ports))
        url = f"postgresql+asyncpg://postgres:{PASSWORD}@{HOST}:{ports.postgres}/postgres"
        yield {"FANOUT_TEST_POSTGRES": url}


def _pytest(arguments: list[str], settings: dict[str, str]) -> int:
    """Leaves an interrupt to pytest, which then drops its databases."""
    command = [sys.executable, "-m", "pytest", "-q", *QUICKLY, *arguments]
    with subprocess.Popen(command, cwd=REPOSITORY, env=os.environ | settings) as process:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            return process.wait()
        finally:
            signal.signal(signal.SIGINT, before)
