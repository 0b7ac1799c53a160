"""`fanout compare` on the running system: what it finds, and that nothing of it stays, however it ends."""

import asyncio
import json
import signal
import subprocess
import sys

import asyncpg
import psutil
from sqlalchemy.engine import make_url

from fanout.compare.prepare import CUSTOMER
from fanout.compare.setting import DATABASE, LOGIN
from fanout.local.mail_fault import ENDS_AFTER_SECONDS, current_fault
from fanout.local.stack_directory import StackDirectory
from tests.support.stack import Stack
from tests.support.system import System, until

LEFT = f"""
    SELECT datname FROM pg_database WHERE datname = '{DATABASE}'
    UNION ALL SELECT rolname FROM pg_roles WHERE rolname = '{LOGIN}'
"""
END_SECONDS = 20
PENDING = "SELECT order_id FROM payments WHERE customer_id = $1 AND status = 'pending' ORDER BY 1"


async def test_a_slow_notifier_costs_the_synchronous_service_and_not_ours_and_nothing_stays(
    system: System,
) -> None:
    before = mails_of_the_synchronous_side(system.stack)
    found = json.loads(await system.fanout("compare", "--pairs", "4", "--json"))
    ratios, conditions = found["ratios"]["750 ms / 5 ms"], found["conditions"]
    assert ratios["synchronous"] > 5 > ratios["events"]
    well, slow, stopped = (conditions[name] for name in ("5 ms", "750 ms", "stopped"))
    for figures in (
        well["synchronous"],
        slow["synchronous"],
        *(each["events"] for each in conditions.values()),
    ):
        assert (figures["accepted"], figures["effects"]) == (4, 4)
    assert (stopped["synchronous"]["accepted"], stopped["synchronous"]["effects"]) == (0, 0)
    assert slow["synchronous"]["answer_p50"] > 0.75 and slow["synchronous"]["effect_p50"] > 0.75
    assert slow["events"]["effect_p50"] > 0.75
    await nothing_is_left(system.stack)
    assert mails_of_the_synchronous_side(system.stack) == before
    await system.settled()


async def test_with_more_listeners_the_synchronous_answer_takes_longer(system: System) -> None:
    found = json.loads(
        await system.fanout("compare", "--consumers", "1..3", "--takes", "200ms", "--pairs", "3", "--json")
    )
    answers = {
        (number, side): figures["answer_p50"]
        for number, sides in found["conditions"].items()
        for side, figures in sides.items()
    }
    assert all(0.2 * number < answers[str(number), "synchronous"] for number in (1, 2, 3))
    assert answers["3", "events"] < 0.6
    for sides in found["conditions"].values():
        assert {figures["effects"] for figures in sides.values()} == {3}
    assert found["conditions"]["3"]["events"]["effect_p50"] > 0.2
    await nothing_is_left(system.stack)


async def test_a_failure_that_is_ignored_is_a_payment_without_its_mail(system: System) -> None:
    options = ("--delays", "stopped", "--pairs", "2", "--ignore-failures", "--json")
    found = json.loads(await system.fanout("compare", *options))["conditions"]["stopped"]
    assert (found["synchronous"]["accepted"], found["synchronous"]["effects"]) == (2, 0)
    assert (found["events"]["accepted"], found["events"]["effects"]) == (2, 2)


async def test_a_comparison_that_is_interrupted_leaves_nothing_behind(system: System) -> None:
    before = mails_of_the_synchronous_side(system.stack)
    pending = await system.query("payments", PENDING, CUSTOMER)
    process = start(system.stack)
    children = await until_measuring(system.stack, process)
    process.send_signal(signal.SIGINT)
    _, printed = await asyncio.to_thread(process.communicate, timeout=END_SECONDS)
    assert process.returncode == 130
    assert "Traceback" not in printed and "rror" not in printed
    assert not any(child.is_running() for child in children)
    await nothing_is_left(system.stack)
    assert mails_of_the_synchronous_side(system.stack) == before

    async def all_are_cancelled() -> bool:
        return bool(await system.query("payments", PENDING, CUSTOMER) == pending)

    await until(all_are_cancelled)


async def test_after_one_that_is_killed_the_mail_server_recovers_and_the_next_one_works(
    system: System,
) -> None:
    process = start(system.stack)
    children = await until_measuring(system.stack, process)
    process.kill()
    await asyncio.to_thread(process.communicate, timeout=END_SECONDS)
    _, alive = await asyncio.to_thread(psutil.wait_procs, children, END_SECONDS)
    assert not alive

    async def is_over() -> bool:
        return current_fault(StackDirectory(system.stack.home).mail_fault) is None

    await until(is_over, ENDS_AFTER_SECONDS + 1)
    await system.fanout("compare", "--delays", "1ms", "--pairs", "2")
    await nothing_is_left(system.stack)


def mails_of_the_synchronous_side(stack: Stack) -> set[str]:
    files = (StackDirectory(stack.home).mail / "new").iterdir()
    return {
        file.name for file in files if "@notifier.synchronous.example" in file.read_text(errors="replace")
    }


def start(stack: Stack) -> subprocess.Popen[str]:
    """With a mail server so slow that there is time to end it."""
    return subprocess.Popen(
        [sys.executable, "-m", "fanout", "compare", "--delays", "900ms", "--pairs", "30"],
        cwd=stack.repository,
        env=stack.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


async def until_measuring(stack: Stack, process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Returns the processes that it has started, once the mail server is slow."""
    directory = StackDirectory(stack.home)

    async def is_slow() -> bool:
        assert process.poll() is None, process.communicate()
        return current_fault(directory.mail_fault) is not None

    await until(is_slow, 60)
    children: list[psutil.Process] = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 4, "a shell and a service each"
    return children


async def nothing_is_left(stack: Stack) -> None:
    """Neither database nor login, nor a fault of the mail server."""
    directory = StackDirectory(stack.home)
    assert not directory.mail_fault.exists() and not directory.compare.exists()
    url = make_url(stack.addresses.databases["orders"]).set(
        drivername="postgresql",
        username="postgres",
        password=directory.passwords(["postgres"])["postgres"],
        database="postgres",
    )
    db = await asyncpg.connect(url.render_as_string(hide_password=False))
    try:
        assert not await db.fetch(LEFT)
    finally:
        await db.close()
