"""`fanout check`: compares what the migrations create with the tables in the code, on a temporary Postgres."""

import asyncio
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import asyncpg
import typer

from fanout.console import say
from fanout.environment import for_process
from fanout.errors import ProcessFailed
from fanout.local import postgres, stop
from fanout.local.ports import HOST, Ports
from fanout.local.stack_directory import StackDirectory
from fanout.provision.databases import superuser
from fanout.repository import REPOSITORY, services

PASSWORD = "temporary"
PATIENCE_SECONDS = 30


def command() -> None:
    """Run every migration on an empty database and compare the result with the declared tables (alembic check).

    Exit code 1 if they differ.

    Example: fanout check
    """
    with temporary_postgres() as ports:
        found = asyncio.run(differences(ports))
    for service, difference in found:
        say(f"{service}: migrations and tables disagree: {difference}")
    if found:
        raise typer.Exit(1)
    say(f"migrations and tables agree: {', '.join(services())}")


async def differences(ports: Ports) -> list[tuple[str, object]]:
    from chassis import migrations
    from chassis.service import load

    found: list[tuple[str, object]] = []
    await _until_ready(ports)
    async with superuser(ports.postgres, PASSWORD) as db:
        for name in services():
            await db.execute(f"CREATE DATABASE {name}")
            url = f"postgresql+asyncpg://postgres:{PASSWORD}@{HOST}:{ports.postgres}/{name}"
            await migrations.migrate(load(name), url)
            found += [(name, difference) for difference in await migrations.differences(load(name), url)]
    return found


@contextmanager
def temporary_postgres() -> Iterator[Ports]:
    with tempfile.TemporaryDirectory(prefix="fanout-check-", ignore_cleanup_errors=True) as folder:
        with socket.create_server((HOST, 0)) as free:
            ports = Ports(free.getsockname()[1] - Ports(0).postgres)
        directory = StackDirectory(Path(folder))
        directory.logs.mkdir()
        postgres.prepare(directory, PASSWORD)
        with (directory.logs / "postgres.log").open("w") as log:
            server = subprocess.Popen(
                postgres.process(directory, ports).command,
                cwd=REPOSITORY,
                env=for_process({}),
                stdout=log,
                stderr=log,
            )
        try:
            yield ports
        finally:
            server.send_signal(postgres.FAST_SHUTDOWN)
            server.wait(PATIENCE_SECONDS)
            stop.wipe(directory)


async def _until_ready(ports: Ports) -> None:
    deadline = monotonic() + PATIENCE_SECONDS
    while True:
        try:
            async with superuser(ports.postgres, PASSWORD):
                return
        except (OSError, asyncpg.CannotConnectNowError) as error:
            if monotonic() > deadline:
                raise ProcessFailed("postgres", f"did not become ready: {error}") from error
        await asyncio.sleep(0.1)
