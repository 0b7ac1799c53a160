"""docs/add-a-consumer.md in a copy of the tree: the consumer is written, started, tested and removed."""

import json
import os
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from confluent_kafka.admin import AdminClient
from sqlalchemy.engine import make_url

from fanout.compose.blocks import WORKER
from fanout.local.stack_directory import StackDirectory
from tests.support.pages import steps_of
from tests.support.stack import REPOSITORY, Stack
from tests.support.system import System, system_of, until
from tests.support.tree import copied_tree, git

NAME = "loyalty"
WRITE, UP, TEST, DELETE, PRUNE = (
    shlex.split(step.command) for step in steps_of(REPOSITORY / "docs/add-a-consumer.md")
)
LIMIT_SECONDS = 60
ORDERS = 5


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Stack]:
    """A copy of the tree, with a stack of its own that is not started."""
    with copied_tree(tmp_path, without=f"services/{NAME}/") as stack:
        yield stack


@pytest.mark.timeout(400)
async def test_a_consumer_is_written_tested_started_and_removed(copy: Stack) -> None:
    copy.must("up", "--owner-pid", str(os.getpid()))
    async with system_of(copy) as system:
        placed = [await system.order() for _ in range(ORDERS)]
        for order_id in placed:
            await system.until_status(order_id, "shipped")
        before = pids(copy)

        began = time.monotonic()
        copy.must(*WRITE[1:])
        copy.must(*UP[1:])
        await until(lambda: system.query(NAME, "SELECT 1 FROM confirmed_orders"), LIMIT_SECONDS)
        seconds = time.monotonic() - began
        print(f"scaffold to first applied event: {seconds:.1f} s")
        assert seconds < LIMIT_SECONDS

        await until(lambda: has_noted(system, placed))
        assert changed(copy) == [" M docker-compose.yml", f"?? services/{NAME}/"]
        block = WORKER.format(name=NAME).splitlines()
        assert sorted(added_lines(copy, "docker-compose.yml")) == sorted(block)
        assert before.items() <= pids(copy).items(), "a process was restarted"
    passes_as_generated(copy)
    assert len(await traces(copy)) == 5
    is_removed(copy)
    assert await traces(copy) == []
    copy.must("verify", "--wait", "60s")


def passes_as_generated(copy: Stack) -> None:
    """Its own test, on the copy's Postgres, and the checks of `make check` that look at one file."""
    for command in (
        (*TEST, "-p", "no:cacheprovider"),
        ("mypy", "--cache-dir", str(REPOSITORY / ".mypy_cache"), f"services/{NAME}"),
        ("ruff", "check", f"services/{NAME}"),
        ("ruff", "format", "--check", f"services/{NAME}"),
    ):
        done = copy.python("-m", *command)
        assert done.returncode == 0, done.stdout + done.stderr


def is_removed(copy: Stack) -> None:
    """It asks first, says what it removes, and has nothing to do afterwards."""
    subprocess.run(DELETE, cwd=copy.repository, check=True)
    asked = copy.fanout("setup", "--prune")
    assert asked.returncode == 2 and "--yes" in asked.stderr and f"database {NAME}" in asked.stderr
    assert copy.must(*PRUNE[1:]).splitlines() == [
        f"removed: {what}"
        for what in (
            f"process {NAME}-worker",
            f"port of {NAME}-worker",
            f"database {NAME}",
            f"login {NAME}",
            f"group {NAME}",
            f"topic orders.{NAME}.dlq",
            f"topic orders.{NAME}.retry",
            f"block {NAME}-worker of docker-compose.yml",
        )
    ]
    again = copy.fanout("setup", "--prune", "--yes")
    assert (again.returncode, again.stdout) == (0, "") and "nothing to remove" in again.stderr
    assert f"{NAME}-worker" not in pids(copy) and NAME not in copy.addresses.databases
    assert NAME not in StackDirectory(copy.home).passwords([])
    assert "nothing changed" in copy.fanout("setup").stderr
    assert changed(copy) == []


async def traces(copy: Stack) -> list[str]:
    """What Postgres and Kafka themselves have under that name."""
    url = make_url(copy.addresses.databases["orders"]).set(
        drivername="postgresql",
        username="postgres",
        password=StackDirectory(copy.home).passwords([])["postgres"],
        database="postgres",
    )
    db = await asyncpg.connect(url.render_as_string(hide_password=False))
    rows = await db.fetch("SELECT datname FROM pg_database UNION ALL SELECT rolname FROM pg_roles")
    await db.close()
    admin = AdminClient({"bootstrap.servers": copy.addresses.kafka})
    groups = [group.group_id for group in admin.list_consumer_groups().result().valid]
    found = [*(row[0] for row in rows), *groups, *admin.list_topics(timeout=10).topics]
    return [name for name in found if name == NAME or NAME in name.split(".")]


async def has_noted(system: System, placed: list[str]) -> bool:
    rows = await system.query(NAME, "SELECT order_id FROM confirmed_orders")
    return sorted(row["order_id"] for row in rows) == sorted(placed)


def changed(copy: Stack) -> list[str]:
    return git(copy.repository, "status", "--porcelain").splitlines()


def added_lines(copy: Stack, file: str) -> list[str]:
    """And none was taken away."""
    lines = git(copy.repository, "diff", "--unified=0", file).splitlines()[5:]
    assert all(line.startswith("+") for line in lines), lines
    return [line[1:] for line in lines]


def pids(copy: Stack) -> dict[str, int]:
    processes = json.loads(copy.must("status", "--json"))["processes"]
    return {process["process"]: process["pid"] for process in processes}
