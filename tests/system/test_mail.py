"""E-mail is late when the mail server is down or slow, and nothing else is."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.support.system import System, until

SUBJECTS = ["We have your order", "Your payment went through", "Your order is on its way"]
UNSENT = "SELECT id FROM messages WHERE sent_at IS NULL"
END_LEASES = "UPDATE messages SET next_try_at = clock_timestamp() WHERE sent_at IS NULL"
"""What a killed sender had taken would be sent 45 s later; the test has no patience."""
TRIED = "SELECT id FROM messages WHERE order_id = $1 AND attempts > 0"


async def mails(system: System, *options: str) -> list[dict[str, Any]]:
    answer = json.loads(await system.fanout("mailbox", "--json", *options))
    return list(answer["messages"])


async def until_mailed(system: System, order_id: str, count: int = 3, seconds: float = 30) -> list[str]:
    async def arrived() -> list[str] | None:
        subjects = [mail["subject"] for mail in await mails(system, "--order", order_id)]
        return subjects if len(subjects) >= count else None

    found: list[str] = await until(arrived, seconds)
    return found


@asynccontextmanager
async def mail_server_stopped(system: System) -> AsyncIterator[None]:
    await system.fanout("stop", "mailbox")
    try:
        yield
    finally:
        await system.fanout("start", "mailbox")


@asynccontextmanager
async def slow_mail(system: System, delay: str) -> AsyncIterator[None]:
    await system.fanout("mailbox", "--delay", delay)
    try:
        yield
    finally:
        await system.fanout("mailbox", "--delay", "0")


async def seconds_to_shipped(system: System, orders: int) -> float:
    began = time.monotonic()
    for order_id in [await system.order() for _ in range(orders)]:
        await system.until_status(order_id, "shipped")
    return time.monotonic() - began


async def test_a_customer_gets_a_mail_for_each_step_of_an_order(system: System) -> None:
    order_id = await system.order(customer_id="customer-mail")
    assert sorted(await until_mailed(system, order_id)) == sorted(SUBJECTS)
    found = await mails(system, "--order", order_id)
    assert {mail["to"] for mail in found} == {"customer-mail@customers.example"}
    assert len({mail["message_id"] for mail in found}) == 3
    assert not any(mail["is_repeat"] for mail in found)
    assert await mails(system, "--to", "customer-mail", "--order", order_id) == found
    last = (await system.fanout("mailbox", "--order", order_id)).splitlines()[-1]
    assert last == "3 messages, 0 repeated"


async def test_orders_are_shipped_while_the_mail_server_is_down_and_mail_comes_when_it_is_back(
    system: System,
) -> None:
    async with mail_server_stopped(system):
        order_id = await system.order()
        await system.until_status(order_id, "shipped")
        await system.settled()
        assert not await mails(system, "--order", order_id)
        assert not await system.query("notifications", TRIED, order_id)
    assert sorted(await until_mailed(system, order_id)) == sorted(SUBJECTS)


async def test_a_mail_server_that_takes_750_ms_makes_no_order_wait(system: System) -> None:
    well = await seconds_to_shipped(system, orders=10)
    async with slow_mail(system, "750ms"):
        slow = await seconds_to_shipped(system, orders=10)

        async def mail_is_late() -> bool:
            return len(await system.query("notifications", UNSENT)) >= 15

        await until(mail_is_late, seconds=10)
    assert slow < well + 2

    async def all_sent() -> bool:
        return not await system.query("notifications", UNSENT)

    await until(all_sent)


async def test_a_sender_killed_at_work_sends_everything_and_repeats_only_known_ids(system: System) -> None:
    async with slow_mail(system, "100ms"):
        order_ids = [await system.order() for _ in range(10)]
        await until_mailed(system, order_ids[0], count=1)
        await system.fanout("kill", "notifications-worker")
        assert await system.query("notifications", UNSENT)
    await system.query("notifications", END_LEASES)
    for order_id in order_ids:
        await until_mailed(system, order_id)
        assert len({mail["message_id"] for mail in await mails(system, "--order", order_id)}) == 3
    await system.settled()
