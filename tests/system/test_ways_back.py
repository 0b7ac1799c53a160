"""Events sent again, and events taken over into a restored database, on the running stack."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.backups import back_up, restore
from tests.support.stack import Stack
from tests.support.system import System

PROCESSES = ("payments-worker", "payments-api")


async def orders_placed(system: System, count: int) -> list[str]:
    placed = [await system.order() for _ in range(count)]
    await system.settled()
    return placed


def json_of(stack: Stack, *arguments: str) -> Any:
    return json.loads(stack.fanout(*arguments, "--json").stdout)


async def test_a_topic_that_is_sent_again_is_ignored_by_everybody_who_had_it(system: System) -> None:
    await orders_placed(system, 3)
    repeats = "SELECT sum(duplicates)::int FROM consumer_offsets"
    [[before]] = await system.query("fraud", repeats)
    sent = json.loads(
        await system.fanout(
            "resend", "--topic", "orders", "--since", "1h", "--service", "orders", "--yes", "--json"
        )
    )
    await system.settled()
    [[after]] = await system.query("fraud", repeats)
    placed = sum(group["rows"] for group in sent["groups"] if group["type"] == "OrderPlaced")
    assert placed >= 3 and after - before >= placed
    [newest, *_] = json.loads(await system.fanout("resend", "--history", "--json"))
    assert (newest["service"], newest["rows"]) == ("orders", sent["sent"])


async def test_payments_restored_from_a_backup_takes_over_what_it_had_published_and_reads_the_rest(
    system: System, stack: Stack, tmp_path: Path
) -> None:
    [known] = await orders_placed(system, 1)
    backup = await asyncio.to_thread(back_up, stack, "payments", tmp_path / "payments.dump")
    lost = await orders_placed(system, 3)
    refused = await asyncio.to_thread(stack.fanout, "recover", "payments", "--yes")
    assert (refused.returncode, refused.stdout) == (
        0,
        "the outbox of payments has every event of it that Kafka has\n",
    )
    await system.fanout("stop", *PROCESSES)
    try:
        await asyncio.to_thread(restore, stack, "payments", backup)
        found = json_of(stack, "recover", "payments", "--dry-run")
        assert sorted(each["order_id"] for each in found["lacking"]) == sorted(lost) and known not in lost
        assert found["taken_over"] == 0
        findings = json_of(stack, "doctor")["findings"]
        [finding] = [each for each in findings if each["check"] == "outboxes and Kafka"]
        assert finding["state"] == "wrong" and "fanout recover payments" in finding["remedy"]
        await system.fanout("start", "payments-api")
        refused = await asyncio.to_thread(stack.fanout, "recover", "payments", "--yes")
        assert refused.returncode == 2 and "fanout stop payments-api" in refused.stderr
        await system.fanout("stop", "payments-api")
        done = await asyncio.to_thread(stack.fanout, "recover", "payments", "--yes")
        assert done.returncode == 0 and "taken over: 3 events" in done.stdout
    finally:
        await system.fanout("start", *PROCESSES)
    await system.settled()
    rows = await system.query("payments", "SELECT order_id FROM movements WHERE order_id = ANY ($1)", lost)
    assert sorted(row["order_id"] for row in rows) == sorted(lost)


def test_the_doctor_finds_nothing_wrong_with_a_stack_that_works(stack: Stack) -> None:
    wrong = [each for each in json_of(stack, "doctor")["findings"] if each["state"] in ("wrong", "unasked")]
    assert wrong == []


@pytest.mark.parametrize("name", ["analytics", "notifications"])
def test_a_service_that_publishes_nothing_has_nothing_to_take_over(stack: Stack, name: str) -> None:
    refused = stack.fanout("recover", name)
    assert refused.returncode == 2 and "reads by itself what it lacks" in refused.stderr
