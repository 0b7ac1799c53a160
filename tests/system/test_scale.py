"""Workers of one service come and go under load: partitions move, and nothing is lost or doubled on the way."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from fanout.commands.scale import IDLE
from tests.support.stack import Stack
from tests.support.system import System

SERVICE, WORKER = "inventory", "inventory-worker"
Shares = dict[str, dict[str, list[int]]]


@pytest.fixture
async def alone_again(system: System) -> AsyncIterator[None]:
    yield
    await system.fanout("scale", SERVICE, "1")


async def scaled(system: System, *count: str) -> Shares:
    """By worker and topic, the partitions it reads."""
    described = json.loads(await system.fanout("scale", SERVICE, *count, "--json"))
    return {share["worker"]: share["topics"] for share in described["workers"]}


async def moved(system: System) -> tuple[Shares, Shares, Shares]:
    return await scaled(system, "3"), await scaled(system, "2"), await scaled(system, "1")


def read_by_all(shares: Shares, topic: str) -> list[int]:
    return sorted(partition for topics in shares.values() for partition in topics.get(topic, []))


@pytest.mark.usefixtures("alone_again")
async def test_scaling_up_and_down_under_load_loses_and_doubles_nothing(system: System) -> None:
    moving = asyncio.create_task(moved(system))
    reports = []
    while not moving.done():
        reports.append(await system.load(60, 20))
    three, two, one = await moving
    assert [len(shares) for shares in (three, two, one)] == [3, 2, 1]
    assert all("orders" in topics for topics in three.values())
    for shares in (three, two, one):
        assert read_by_all(shares, "orders") == [0, 1, 2, 3, 4, 5]
        assert read_by_all(shares, f"orders.{SERVICE}.retry") == [0]
    assert all(report.complete for report in reports)
    await system.settled()


@pytest.mark.usefixtures("alone_again")
async def test_more_workers_than_partitions_are_shown_as_idle(system: System) -> None:
    lines = (await system.fanout("scale", SERVICE, "8")).splitlines()
    assert [line.split()[0] for line in lines] == [WORKER, *(f"{WORKER}-{number}" for number in range(2, 9))]
    assert len([line for line in lines if line.endswith(IDLE)]) == 1


@pytest.mark.usefixtures("alone_again")
async def test_the_number_is_kept_and_status_shows_each_worker(system: System) -> None:
    await scaled(system, "2")
    await system.fanout("stop", f"{WORKER}-2")
    shown = (await system.fanout("scale", SERVICE)).splitlines()
    assert shown[1] == f"{WORKER}-2  not in the group: fanout status"
    await system.fanout("up")
    assert set(await scaled(system, "2")) == {WORKER, f"{WORKER}-2"}
    status = json.loads(await system.fanout("status", "--json"))
    assert {WORKER, f"{WORKER}-2"} <= {process["process"] for process in status["processes"]}


def test_an_unknown_service_is_answered_with_those_that_exist(stack: Stack) -> None:
    done = stack.fanout("scale", "nobody", "2")
    assert (done.returncode, done.stdout) == (2, "")
    assert "nobody" in done.stderr and "fraud, fulfillment, inventory" in done.stderr


@pytest.mark.parametrize("count", ["0", "17"])
def test_an_impossible_number_is_refused_with_the_limits(stack: Stack, count: str) -> None:
    done = stack.fanout("scale", SERVICE, count)
    assert done.returncode == 2
    assert f"1 to 16 workers, not {count}" in done.stderr
