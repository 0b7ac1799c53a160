"""Every row of docs/break-it.md on one stack, one after the other and amid load; then nothing is lost or doubled."""

import asyncio
import json
import re
import shlex
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.support.stack import REPOSITORY, Stack
from tests.support.system import System, until

PAGE = REPOSITORY / "docs/break-it.md"
ORDERS, RATE = 20, 10.0


@dataclass(frozen=True, slots=True)
class Row:
    """What is broken, and how: commands of the tool, and SQL with the database it is for."""

    what: str
    how: str

    @property
    def commands(self) -> list[list[str]]:
        return [
            shlex.split(each.removeprefix("fanout ")) for each in self._code if each.startswith("fanout ")
        ]

    @property
    def statements(self) -> list[tuple[str, str]]:
        found = re.findall(r"in `(\w+)`: `((?:INSERT|UPDATE)[^`]+)`", self.how)
        return [(database, statement) for database, statement in found]

    @property
    def _code(self) -> list[str]:
        return re.findall(r"`([^`]+)`", self.how)


def rows() -> Iterator[Row]:
    for line in PAGE.read_text().splitlines():
        if line.startswith("| ") and "tests/" in line:
            what, how, *_ = line.strip("| ").split(" | ")
            yield Row(what, how)


async def broken_and_mended(system: System, row: Row) -> None:
    """Breaks something while orders are placed, starts what stopped, and waits until all of them are taken."""
    for database, statement in row.statements:
        async with system.connect(database) as connection:
            await connection.execute(statement)
    load = asyncio.create_task(system.load(ORDERS, RATE))
    for command in row.commands:
        done = await asyncio.to_thread(system.stack.fanout, *command)
        is_refused_load = command[0] == "load" and "failed 0, unknown 0" in done.stdout
        assert done.returncode == 0 or is_refused_load, f"{row.what}: {done.stdout}{done.stderr}"
    for service in stopped(await system.fanout("status", "--json")):
        await system.fanout("start", service)
    assert (await load).complete, row.what


def stopped(status: str) -> list[str]:
    return [each["process"] for each in json.loads(status)["processes"] if each["state"] == "STOPPED"]


@pytest.mark.timeout(400)
async def test_every_row_can_be_done_and_nothing_is_lost(system: System, stack: Stack) -> None:
    found = list(rows())
    assert len(found) >= 14 and all(row.commands or row.statements for row in found)
    for row in found:
        await broken_and_mended(system, row)
    await until(unsent_are_discarded(system), 60)

    async def nothing_is_lost() -> bool:
        report = json.loads((await asyncio.to_thread(stack.fanout, "verify", "--json")).stdout)
        return (report["lost"], report["applied_twice"], report["in_flight"]) == (0, 0, 0)

    await until(nothing_is_lost, 60)


def unsent_are_discarded(system: System) -> Callable[[], Awaitable[bool]]:
    async def discarded() -> bool:
        unsent = json.loads(await system.fanout("outbox", "ls", "--json"))["rows"]
        for row in unsent:
            await system.fanout("outbox", "discard", "orders", str(row["id"]), "--why", "test")
        return [row["topic"] for row in unsent] == ["orders.fraud.gone"]

    return discarded
