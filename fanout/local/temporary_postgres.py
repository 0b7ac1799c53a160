"""A Postgres of its own for one command: in a temporary folder, on a free port, and gone afterwards."""

import asyncio
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import asyncpg

from fanout.environment import for_process
from fanout.errors import ProcessFailed
from fanout.local import postgres, stop
from fanout.local.ports import Ports, free_port
from fanout.local.stack_directory import StackDirectory
from fanout.provision.databases import superuser
from fanout.repository import REPOSITORY

PASSWORD = "temporary"
PATIENCE_SECONDS = 30


@contextmanager
def temporary_postgres() -> Iterator[Ports]:
    """Yields its ports, of which only `postgres` is used, while it starts: see `until_ready`."""
    with tempfile.TemporaryDirectory(prefix="fanout-check-", ignore_cleanup_errors=True) as folder:
        ports = Ports(free_port() - Ports(0).postgres)
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
                start_new_session=True,
            )
        try:
            yield ports
        finally:
            server.send_signal(postgres.FAST_SHUTDOWN)
            server.wait(PATIENCE_SECONDS)
            stop.wipe(directory)


async def until_ready(ports: Ports) -> None:
    """Returns when it answers. Raises ProcessFailed."""
    deadline = monotonic() + PATIENCE_SECONDS
    while True:
        try:
            async with superuser(ports.postgres, PASSWORD):
                return
        except (OSError, asyncpg.CannotConnectNowError) as error:
            if monotonic() > deadline:
                raise ProcessFailed("postgres", f"did not become ready: {error}") from error
        await asyncio.sleep(0.1)
