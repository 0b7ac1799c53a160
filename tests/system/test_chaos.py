"""Faults end by themselves when the tool is killed or interrupted, and a short run of them holds and bites."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from fanout.local.stack_directory import StackDirectory
from fanout.local.supervisor import Supervisor
from tests.support.stack import REPOSITORY
from tests.support.system import System, until

Look = Callable[[System], Awaitable[bool]]
UNDONE_SECONDS = 45


def process(system: System, name: str) -> psutil.Process:
    return psutil.Process(Supervisor(StackDirectory(system.stack.home)).state(name).pid)


def is_stopped(*names: str) -> Look:
    async def look(system: System) -> bool:
        with suppress(psutil.NoSuchProcess):
            return all(process(system, name).status() == psutil.STATUS_STOPPED for name in names)
        return False

    return look


def is_down(name: str) -> Look:
    async def look(system: System) -> bool:
        return not Supervisor(StackDirectory(system.stack.home)).state(name).is_alive

    return look


def finds(service: str, sql: str) -> Look:
    async def look(system: System) -> bool:
        return bool(await system.query(service, sql))

    return look


LOCKED = "SELECT 1 FROM pg_locks WHERE relation = 'inbox'::regclass AND mode = 'AccessExclusiveLock'"
READ_ONLY = "SELECT 1 WHERE current_setting('default_transaction_read_only') = 'on'"
TRUNCATING = "SELECT 1 FROM pg_trigger WHERE tgname = 'truncated'"

BESIDE_EACH_OTHER: Mapping[str, Look] = {
    "pause fulfillment-worker": is_stopped("fulfillment-worker"),
    "slow notifications-worker --level 99": is_stopped("notifications-worker"),
    "lock fraud.inbox": finds("fraud", LOCKED),
    "read-only analytics": finds("analytics", READ_ONLY),
    "poison": finds("inventory", TRUNCATING),
    "registry-down": is_down("registry"),
}
ALONE: Mapping[str, Look] = {
    "broker-down": is_down("kafka"),
    "database-down": is_down("postgres"),
    "freeze-all": is_stopped("fraud-worker", "orders-api", "kafka"),
}


class Command:
    """A `fanout chaos` of five minutes, which no test waits for."""

    def __init__(self, system: System, fault: str, output: Path) -> None:
        with output.open("w") as opened:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "fanout", "chaos", *fault.split(), "--for", "5m"],
                cwd=REPOSITORY,
                env=system.stack.environment,
                stdin=subprocess.DEVNULL,
                stdout=opened,
                stderr=opened,
                start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        self.output = output
        self.holders: list[psutil.Process] = []

    async def find_holder(self) -> bool:
        """Returns True once the process that undoes the fault is known; after the tool is killed it cannot be found."""
        children = psutil.Process(self.process.pid).children()
        self.holders = [each for each in children if "fanout.chaos.holder" in each.cmdline()]
        return bool(self.holders)

    async def is_over(self) -> bool:
        return self.process.poll() is not None and not any(map(psutil.Process.is_running, self.holders))


async def causes_and_undoes(
    system: System, looks: Mapping[str, Look], number: signal.Signals, folder: Path
) -> None:
    """Causes the faults, sends the signal to the tools, and waits until all is as before."""
    commands = {fault: Command(system, fault, folder / f"{index}.txt") for index, fault in enumerate(looks)}
    try:
        for fault, look in looks.items():
            await until(commands[fault].find_holder)
            await until(lambda look=look: look(system))  # type: ignore[misc]
    finally:
        for command in commands.values():
            command.process.send_signal(number)
    for fault, look in looks.items():
        await until(commands[fault].is_over, UNDONE_SECONDS)
        assert not await look(system), fault
        if number is signal.SIGINT:
            printed = commands[fault].output.read_text()
            assert commands[fault].process.returncode == 128 + number, printed
            assert "stopped: what was broken is undone" in printed and "Traceback" not in printed
    await system.settled()
    assert await system.query("dead_letters", "SELECT 1 FROM dead_letters WHERE status = 'parked'") == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=str)
@pytest.mark.parametrize(
    "looks", [BESIDE_EACH_OTHER, *({name: ALONE[name]} for name in ALONE)], ids=", ".join
)
async def test_a_fault_is_undone_when_the_tool_is_killed_or_interrupted(
    looks: Mapping[str, Look], number: signal.Signals, system: System, tmp_path: Path
) -> None:
    await causes_and_undoes(system, looks, number, tmp_path)


async def test_the_tool_undoes_a_fault_whose_holder_is_killed(system: System, tmp_path: Path) -> None:
    looks = {"read-only analytics": finds("analytics", READ_ONLY), "pause fraud": is_stopped("fraud-worker")}
    for fault, look in looks.items():
        command = Command(system, fault, tmp_path / "output.txt")
        await until(command.find_holder)
        await until(lambda look=look: look(system))  # type: ignore[misc]
        command.holders[0].kill()

        async def is_undone(look: Look = look) -> bool:
            return not await look(system)

        await until(is_undone)
        os.killpg(command.process.pid, signal.SIGINT)
        command.process.wait(UNDONE_SECONDS)
    await system.settled()


@pytest.mark.timeout(200)
async def test_a_short_run_bites_holds_and_is_reported(system: System, tmp_path: Path) -> None:
    orders = "run --orders 100 --rate 5 --faults 5 --seed 2 --json --report"
    done = await asyncio.to_thread(system.stack.fanout, "chaos", *orders.split(), str(tmp_path / "seed-2"))
    report = json.loads(done.stdout)

    assert done.returncode == 0, f"{report['violations']}\n{done.stderr}"
    assert report["verdict"] == "held" and report["ledger"]["verdict"] == "holds"
    assert report["load"]["complete"] and report["load"]["orders"]["ok"] == 100
    assert [each["began"] is not None for each in report["schedule"]] == [True] * 5
    assert report["bites"]["redeliveries"] + report["bites"]["rebalances"] > 0
    assert sum(report["asked"].values()) >= 1 and report["broken"] == []
    assert (tmp_path / "seed-2.md").read_text().startswith("# Seed 2: held")
    assert json.loads((tmp_path / "seed-2.json").read_text()) == report
