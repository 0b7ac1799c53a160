"""An optional field is added to OrderPlaced under load: old and new code side by side, in both orders, and back again.

The changes are those of docs/evolve-a-contract.md, in a copy of the tree.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.pages import Step, steps_of
from tests.support.stack import REPOSITORY, Stack
from tests.support.system import WORKERS, System, system_of, until
from tests.support.tree import copied_tree, git

PAGE = REPOSITORY / "docs/evolve-a-contract.md"
SUBJECT = "orders-fanout.OrderPlaced"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A copy of the tree, with a running stack of its own."""
    with copied_tree(tmp_path_factory.mktemp("drill")) as stack:
        stack.must("up", "--owner-pid", str(os.getpid()))
        yield stack


def add_field(tree: Path) -> None:
    """Applies the page's first steps: version 2 of OrderPlaced, and the line in the API that fills its new field."""
    copy, version, *_ = steps_of(PAGE)
    line = next(step for step in steps_of(PAGE) if "services/orders/models.py" in step.command)
    for step in (copy, version, Step(f"{sys.executable} -m fanout schemas generate", ""), line):
        subprocess.run(["bash", "-c", step.command], cwd=tree, check=True)


def restart(stack: Stack, *processes: str) -> None:
    stack.must("stop", *processes)
    stack.must("start", *processes)


def pids(stack: Stack) -> dict[str, int]:
    return {row["process"]: row["pid"] for row in json.loads(stack.must("status", "--json"))["processes"]}


@contextmanager
def load(stack: Stack) -> Iterator[None]:
    """Places orders all the time; every one of them must have been taken in the end."""
    command = [
        sys.executable,
        "-m",
        "fanout",
        "load",
        "--rate",
        "8",
        "--seconds",
        "600s",
        "--patient",
        "--json",
    ]
    placing = subprocess.Popen(
        command,
        cwd=stack.repository,
        env=stack.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield
        assert placing.poll() is None, placing.communicate()[0]
    finally:
        placing.terminate()
        placing.communicate()


@pytest.mark.timeout(300)
async def test_old_and_new_code_read_each_others_events_in_every_order_of_deployment(running: Stack) -> None:
    async with system_of(running) as system:
        before = pids(running)
        with load(running):
            await until(lambda: applied(system, "fraud"))

            add_field(running.repository)
            restart(running, "fraud-worker")  # a consumer first: new code reads old events
            await shipped_and_assessed(system)

            restart(
                running, "orders-api"
            )  # before setup: neither the registry nor the old relay knows version 2
            waiting = await system.order(channel="phone")
            await until(lambda: set_aside(system))
            assert await system.show(waiting)
            assert f"{SUBJECT} v2" in await system.fanout("outbox", "ls", "orders", "--json")

            assert f"new: {SUBJECT} version 2" in await system.fanout("setup")
            await system.until_status(
                waiting, "shipped", seconds=60
            )  # sent by the old relay, read by old consumers
            restart(running, "orders-worker")
            await shipped_and_assessed(system, channel="web")

            git(running.repository, "stash", "-q", "--include-untracked")
            restart(
                running, "orders-api", "orders-worker", "fraud-worker"
            )  # back to the old code, on new data
            await shipped_and_assessed(system)
            untouched = {
                name: pid for name, pid in before.items() if not name.startswith(("orders", "fraud"))
            }
            assert untouched.items() <= pids(running).items(), "a process was restarted"
        assert "lost 0, applied twice 0" in await system.settled()
        assert await written(system) == {1, 2}
        assert [service for service in WORKERS if await system.query(service, "SELECT 1 FROM parked")] == []
        replayed = await system.fanout(
            "replay", "analytics", "--yes"
        )  # the old code reads all of it once more
        print(replayed)
        assert "lost 0, applied twice 0" in await system.settled()


async def applied(system: System, service: str) -> Any:
    return await system.query(service, "SELECT 1 FROM inbox LIMIT 1")


async def set_aside(system: System) -> Any:
    return await system.query("orders", "SELECT 1 FROM outbox WHERE error_type = 'SchemaNotRegistered'")


async def written(system: System) -> set[int]:
    rows = (
        "SELECT DISTINCT schema_version FROM outbox WHERE type = 'OrderPlaced' AND published_at IS NOT NULL"
    )
    return {row["schema_version"] for row in await system.query("orders", rows)}


async def shipped_and_assessed(system: System, **changes: Any) -> None:
    """An order that is placed now passes through every service."""
    order_id = await system.order(**changes)
    await system.until_status(order_id, "shipped", seconds=60)

    async def is_assessed() -> bool:
        return (await system.show(order_id))["fraud_score"] is not None

    await until(is_assessed)


BREAKING = {
    "a field is removed": lambda s: s["fields"].pop(2),
    "a field is renamed without alias": lambda s: s["fields"][2].update(name="buyer_id"),
    "a field is retyped": lambda s: s["fields"][2].update(type="long"),
    "a required field is added": lambda s: s["fields"].append(
        {"name": "channel", "type": "string", "doc": "Where."}
    ),
    "an enum symbol is added": lambda s: s["fields"][5]["type"]["symbols"].append("voucher"),
}


@pytest.mark.parametrize("change", BREAKING.values(), ids=BREAKING.keys())
def test_a_breaking_change_is_refused_at_commit_in_ci_and_by_the_registry(
    running: Stack, change: Any
) -> None:
    tree, registry = running.repository, running.addresses.registry_url
    folder = tree / "schemas" / "order_placed"
    before = httpx.get(f"{registry}/subjects/{SUBJECT}/versions", trust_env=False).json()
    spec = json.loads((folder / "v1.avsc").read_text()) | {"revision": 2}
    change(spec)
    try:
        (folder / "v2.avsc").write_text(json.dumps(spec))
        generated = running.fanout(
            "schemas", "generate"
        )  # refuses by itself an enum that two events would define
        checked = running.fanout("schemas", "check")
        assert checked.returncode == 1
        assert re.search(r"order_placed/v2\.avsc: OrderPlaced\.\w+: .*(would fail)", checked.stdout)
        asked = httpx.post(
            f"{registry}/subjects/{SUBJECT}/versions", json={"schema": json.dumps(spec)}, trust_env=False
        )
        assert asked.status_code == 409
        if generated.returncode == 0:
            registered = running.fanout("schemas", "register")
            assert registered.returncode == 1
            assert f"error: {SUBJECT} version 2 breaks its readers" in registered.stderr
    finally:
        git(tree, "stash", "-q", "--include-untracked")
        git(tree, "stash", "drop", "-q")
    assert httpx.get(f"{registry}/subjects/{SUBJECT}/versions", trust_env=False).json() == before


def test_commit_and_ci_run_the_gate() -> None:
    assert "fanout schemas check" in (REPOSITORY / ".pre-commit-config.yaml").read_text()
    check = (REPOSITORY / "Makefile").read_text().split("check: ", 1)[1].split("\n\n")[0]
    assert "fanout schemas check" in check
    assert "make check" in (REPOSITORY / ".ci" / "run").read_text()
