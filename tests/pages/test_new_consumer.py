"""docs/add-a-consumer.md in a copy of the tree: the consumer is written, started, changed, rebuilt and removed."""

import asyncio
import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from confluent_kafka.admin import AdminClient
from sqlalchemy.engine import make_url

from fanout.compose.blocks import API, WORKER
from fanout.local.stack_directory import StackDirectory
from tests.support.pages import Step, does_what_it_shows, steps_of
from tests.support.stack import REPOSITORY, Stack
from tests.support.system import System, system_of
from tests.support.tree import copied_tree, git, with_command

NAME = "loyalty"
STEPS = steps_of(REPOSITORY / "docs/add-a-consumer.md")


def position(command: str) -> int:
    return next(number for number, step in enumerate(STEPS) if step.command.startswith(command))


WRITE, CHANGE, DELETE = map(position, ("fanout new-consumer", "git apply", "rm -r"))
BEFORE, WRITTEN, CHANGED = STEPS[:WRITE], STEPS[WRITE:CHANGE], STEPS[CHANGE:DELETE]
REMOVE, PRUNE = (shlex.split(step.command) for step in STEPS[DELETE:])
LIMIT_SECONDS = 60


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Stack]:
    """A copy of the tree, with a stack of its own that is not started."""
    with copied_tree(tmp_path, without=f"services/{NAME}/") as stack:
        yield stack


@pytest.mark.timeout(400)
async def test_a_consumer_is_written_tested_started_changed_and_removed(copy: Stack) -> None:
    copy.must("up", "--owner-pid", str(os.getpid()))
    await asyncio.to_thread(shown, BEFORE, copy)
    async with system_of(copy) as system:
        await system.settled()
        placed = await confirmed_before(system)
        assert placed, "no order was confirmed"
        before = pids(copy)

        began = time.monotonic()
        await asyncio.to_thread(shown, WRITTEN, copy)
        seconds = time.monotonic() - began
        print(f"from scaffold to a row over HTTP: {seconds:.1f} s")
        assert seconds < LIMIT_SECONDS
        assert await stored(system) == placed, "orders of before the consumer count"
        assert changed(copy) == [" M docker-compose.yml", f"?? services/{NAME}/"]
        both = [block.format(name=NAME, upper=NAME.upper(), port=8105) for block in (API, WORKER)]
        assert sorted(added_lines(copy, "docker-compose.yml")) == sorted("".join(both).splitlines())
        assert before.items() <= pids(copy).items(), "a process was restarted"
        passes_as_it_is(copy)

        await asyncio.to_thread(shown, CHANGED, copy)
        assert before.items() <= pids(copy).items(), "a process was restarted"
        rows = await system.query(NAME, "SELECT total_cents, points FROM confirmed_orders")
        assert [row["points"] for row in rows] == [row["total_cents"] // 100 for row in rows]
        assert await stored(system) == placed
        passes_as_it_is(copy)
        assert "migrations and tables agree" in copy.fanout("check").stderr
    assert len(await traces(copy)) == 5
    is_removed(copy)
    assert await traces(copy) == []
    copy.must("verify", "--wait", "60s")


def shown(steps: list[Step], copy: Stack) -> None:
    ports = f"{int(copy.environment['FANOUT_PORT_BASE']) // 100}"
    there = [
        Step(
            *(
                re.sub(r"(localhost|127\.0\.0\.1):80", rf"\1:{ports}", text)
                for text in (step.command, step.shown)
            )
        )
        for step in steps
    ]
    does_what_it_shows(there, copy.repository, with_command(copy), seconds=120)


async def confirmed_before(system: System) -> set[str]:
    rows = await system.query("analytics", "SELECT order_id FROM steps WHERE step = 'confirmed'")
    return {row["order_id"] for row in rows}


async def stored(system: System) -> set[str]:
    return {row["order_id"] for row in await system.query(NAME, "SELECT order_id FROM confirmed_orders")}


def passes_as_it_is(copy: Stack) -> None:
    """The checks of `make check` that look at one file."""
    for command in (
        ("mypy", "--cache-dir", str(REPOSITORY / ".mypy_cache"), f"services/{NAME}"),
        ("ruff", "check", f"services/{NAME}"),
        ("ruff", "format", "--check", f"services/{NAME}"),
    ):
        done = copy.python("-m", *command)
        assert done.returncode == 0, done.stdout + done.stderr


def is_removed(copy: Stack) -> None:
    """It asks first, says what it removes, and has nothing to do afterwards."""
    subprocess.run(REMOVE, cwd=copy.repository, check=True)
    asked = copy.fanout("setup", "--prune")
    assert asked.returncode == 2 and "--yes" in asked.stderr and f"database {NAME}" in asked.stderr
    assert copy.must(*PRUNE[1:]).splitlines() == [
        f"removed: {what}"
        for what in (
            f"process {NAME}-api",
            f"process {NAME}-worker",
            f"port of {NAME}-api",
            f"port of {NAME}-worker",
            f"database {NAME}",
            f"login {NAME}",
            f"group {NAME}",
            f"topic orders.{NAME}.dlq",
            f"topic orders.{NAME}.retry",
            f"block {NAME}-api of docker-compose.yml",
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
