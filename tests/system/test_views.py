"""What the system does, seen with the tool: rows, messages, causes, and a message that a person corrects."""

import asyncio
import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fanout import kafka_admin
from tests.support.stack import Stack
from tests.support.system import System, until


async def test_rows_are_read_with_the_login_of_their_service_and_nothing_can_be_written(
    system: System,
) -> None:
    order_id = await system.order()
    wanted = f"select status, currency from orders where order_id = '{order_id}'"
    [row] = json.loads(await system.fanout("sql", "orders", wanted, "--json"))["rows"]
    assert row["currency"] == "EUR"
    refused = system.stack.fanout("sql", "orders", "update orders set currency = 'USD' returning 1")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1) and "only reads" in refused.stderr
    assert "outbox" in await system.fanout("sql", "payments")


@contextmanager
def tailing(stack: Stack, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`fanout tail`, which is reading already; it is killed at the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "fanout", "tail", *arguments],
        cwd=stack.repository,
        env=stack.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    try:
        assert process.stderr.readline().startswith("reading ")
        yield process
    finally:
        process.kill()
        process.communicate()


async def test_events_are_shown_as_they_arrive_and_no_group_is_made(system: System) -> None:
    groups = kafka_admin.group_names(kafka_admin.admin_of(system.stack.addresses.broker))
    with tailing(system.stack, "orders", "--json", "-n", "2") as tail:
        order_id = await system.order()
        said, errors = await asyncio.to_thread(tail.communicate, timeout=60)
    assert (tail.returncode, errors) == (0, "")
    lines = [json.loads(line) for line in said.splitlines()]
    assert [line["type"] for line in lines if line["order_id"] == order_id] == [
        "OrderPlaced",
        "OrderConfirmed",
    ]
    assert lines[0]["event"]["card_token"] == "***"
    assert kafka_admin.group_names(kafka_admin.admin_of(system.stack.addresses.broker)) == groups


def test_ctrl_c_ends_it_without_a_word(stack: Stack) -> None:
    with tailing(stack) as tail:
        tail.send_signal(signal.SIGINT)
        _, errors = tail.communicate(timeout=30)
    assert (tail.returncode, errors) == (130, "")


async def test_a_parked_message_is_in_the_verdict_until_a_person_has_corrected_it(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await system.fanout("dlq", "discard", "--all", "--why", "of another test")
    await system.settled()
    whole = tmp_path / "whole.json"
    whole.write_text(await system.fanout("poison"))
    order_id = json.loads(whole.read_text())["order_id"]

    waiting = await asyncio.to_thread(system.stack.fanout, "verify", "--wait", "60s")
    assert waiting.returncode == 3, waiting.stdout
    assert waiting.stdout.splitlines()[-1] == (
        "waiting: 1 parked message holds 1 order back (fanout dlq ls); lost 0, applied twice 0"
    )
    [dead_letter] = json.loads(await system.fanout("dlq", "ls", "--json"))["dead_letters"]
    number = str(dead_letter["dead_letter_id"])
    assert f"order_id             {order_id}\n" in await system.fanout("dlq", "show", number)
    unchanged = system.stack.fanout("dlq", "redrive", number, "--why", "let us see")
    assert unchanged.returncode == 2 and f"fanout dlq edit {number}" in unchanged.stderr

    monkeypatch.setitem(system.stack.environment, "EDITOR", f"cp {shlex.quote(str(whole))}")
    await system.fanout("dlq", "edit", number, "--why", "truncated by a bug")
    await system.until_status(order_id, "shipped")
    tree = await system.fanout("order", order_id, "--tree")
    assert "redriven once" in tree and "parked" in tree and "OrderConfirmed by orders" in tree

    async def holds() -> bool:
        done = await asyncio.to_thread(system.stack.fanout, "verify", "--wait", "60s")
        return done.returncode == 0 and done.stdout.splitlines()[-1].startswith("holds: lost 0, ")

    await until(holds)
