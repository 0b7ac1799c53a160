"""A stuck process ends: if its event loop is blocked, even in C, or if its consumer makes no progress."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest

from chassis import liveness
from chassis.consumer.offsets import Offsets
from chassis.consumer.partition_queue import PartitionQueue
from chassis.events.record import Record
from chassis.liveness import EXIT_STUCK

PROGRAM = """
import asyncio, re, time
from chassis import liveness
from chassis.liveness import watch

async def main():
    beats = liveness.Heartbeat()
    watching = asyncio.create_task(watch(lambda: {alive}, blocked_seconds=0.6, check_seconds=0.05))
    await asyncio.sleep(0.1)
    {work}
    watching.cancel()

asyncio.run(main())
"""
AT_WORK = """print("at work", flush=True)
    await asyncio.sleep(1)"""


def run(work: str, alive: str = "True") -> subprocess.CompletedProcess[str]:
    program = PROGRAM.format(work=work, alive=alive)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("work", "ends_with"),
    [("time.sleep(600)", 1), ("re.match('(a+)+$', 'a' * 64 + 'b')", -signal.SIGPROF)],
    ids=["asleep", "in C"],
)
def test_a_blocked_loop_ends_the_process_and_prints_its_stack(work: str, ends_with: int) -> None:
    done = run(work)
    assert done.returncode == ends_with
    assert "in main" in done.stderr


def test_a_process_that_was_frozen_for_longer_than_a_stuck_one_may_take_continues() -> None:
    program = PROGRAM.format(work=AT_WORK, alive="beats.silent_seconds < 2.5")
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout and process.stdout.readline() == "at work\n"
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(3)  # nothing can be waited for: the process is frozen
        os.kill(process.pid, signal.SIGCONT)
        _, output = process.communicate(timeout=60)
    assert process.returncode == 0, output


def test_a_process_that_is_not_alive_ends() -> None:
    assert run("await asyncio.sleep(600)", alive="False").returncode == EXIT_STUCK


def test_a_working_process_is_not_ended() -> None:
    assert run("await asyncio.sleep(1.5)").returncode == 0


async def test_a_hanging_partition_queue_is_silent_and_one_without_work_is_not() -> None:
    class Hangs:
        offsets = Offsets("")

        async def process(self, records: object, stop: asyncio.Event) -> None:
            await stop.wait()

        async def release(self, partitions: object) -> None: ...

    idle, hanging = (PartitionQueue(Hangs(), lambda: None, 500) for _ in range(2))
    hanging.put([Record("orders", 0, 0, 0, None, None, [])])
    async with asyncio.timeout(5):
        while hanging.silent_seconds < 0.05:
            await asyncio.sleep(0.01)
    assert idle.silent_seconds == 0
    await hanging.stop(1)
    await idle.stop(1)


async def test_a_partition_queue_that_retries_during_an_outage_is_alive() -> None:
    class Waiting:
        offsets = Offsets("")

        async def process(self, records: object, stop: asyncio.Event) -> None:
            while not stop.is_set():
                liveness.beat()
                await asyncio.sleep(0.01)

        async def release(self, partitions: object) -> None: ...

    queue = PartitionQueue(Waiting(), lambda: None, 500)
    queue.put([Record("orders", 0, 0, 0, None, None, [])])
    await asyncio.sleep(0.5)
    assert queue.silent_seconds < 0.3
    await queue.stop(1)
