"""A bug parks what it cannot process; once it is fixed, everything is redriven, and each event counts once."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import pytest

from tests.support.system import System, until

ORDERS = 334
SECONDS = 60


@asynccontextmanager
async def bug(system: System, service: str, table: str, rule: str) -> AsyncIterator[None]:
    """While it lasts, the service cannot write what breaks the rule."""
    async with system.connect(service) as db:
        await db.execute(f"ALTER TABLE {table} ADD CONSTRAINT bug CHECK ({rule}) NOT VALID")
    try:
        yield
    finally:
        async with system.connect(service) as db:
            await db.execute(f"ALTER TABLE {table} DROP CONSTRAINT bug")


@pytest.fixture(autouse=True)
async def nothing_parked(system: System) -> None:
    """What other tests have left to lie there."""
    await system.fanout("dlq", "discard", "--all", "--why", "of another test")


async def test_a_thousand_parked_messages_redriven_twice_and_at_once_are_a_thousand_effects(
    system: System,
) -> None:
    async with bug(system, "notifications", "messages", "false"):
        report = await system.load(ORDERS, 20, seed=7)
        assert report.complete, report.lines()
        await system.settled()
        parked = await ids(system, "notifications", "parked")
        assert len(parked) > 1_000

    began = monotonic()
    everything = ("dlq", "redrive", "--consumer", "notifications", "--why", "fixed")
    await asyncio.gather(system.fanout(*everything), system.fanout(*everything))
    again = f"{system.stack.addresses.apis['dead_letters']}/dead-letters"
    for dead_letter_id in parked[:200]:
        answer = await system.http.post(f"{again}/{dead_letter_id}/redrive", json={"why": "once more"})
        assert answer.is_success, answer.text

    async def all_written() -> bool:
        return await messages(system, report.order_ids) >= len(parked)

    await until(all_written, SECONDS)
    took = monotonic() - began
    print(f"{len(parked)} letters redriven twice at once, and 200 of them once more, in {took:.1f} s")
    assert took < SECONDS
    await until(lambda: nothing_waits_for(system, "notifications"))
    await system.settled()
    assert await messages(system, report.order_ids) == len(parked)
    assert await ids(system, "notifications", "parked") == []


async def test_what_fails_again_comes_back_with_more_attempts(system: System) -> None:
    async with bug(system, "notifications", "messages", "kind <> 'order_placed'"):
        await system.until_status(await system.order(), "shipped")
        dead_letter_id = await until(lambda: newest(system, "notifications"))
        await system.fanout("dlq", "redrive", str(dead_letter_id), "--why", "let us see")
        await until(lambda: has_attempts(system, dead_letter_id, 2))
        assert await ids(system, "notifications", "parked") == [dead_letter_id]
    await system.fanout("dlq", "redrive", str(dead_letter_id), "--why", "now it is fixed")

    async def gone() -> bool:
        return not await ids(system, "notifications", "parked") and await nothing_waits_for(
            system, "notifications"
        )

    await until(gone)
    await system.settled()


async def test_an_order_redriven_after_its_cancellation_reserves_nothing_and_ships_nothing(
    system: System,
) -> None:
    async with bug(system, "inventory", "reservations", "status <> 'reserved'"):
        order_id = await system.order(payment_method="invoice", card_token=None)
        dead_letter_id = await until(lambda: newest(system, "inventory"))
        orders = f"{system.stack.addresses.apis['orders']}/orders/{order_id}"
        assert (await system.http.post(f"{orders}/cancel")).status_code == 200
        await until(lambda: reservation(system, order_id))
    await system.fanout("dlq", "redrive", str(dead_letter_id), "--why", "too late")
    await until(lambda: has_applied_redrive(system, order_id))
    await system.settled()
    assert await reservation(system, order_id) == "void"
    assert not await system.query(
        "inventory", "SELECT 1 FROM reservation_lines WHERE order_id = $1", order_id
    )
    assert (await system.show(order_id))["status"] == "cancelled"


async def ids(system: System, consumer: str, status: str) -> list[int]:
    sql = (
        "SELECT dead_letter_id FROM dead_letters WHERE consumer = $1 AND status = $2 ORDER BY dead_letter_id"
    )
    return [row["dead_letter_id"] for row in await system.query("dead_letters", sql, consumer, status)]


async def newest(system: System, consumer: str) -> int | None:
    return next(iter(reversed(await ids(system, consumer, "parked"))), None)


async def has_attempts(system: System, dead_letter_id: int, attempts: int) -> bool:
    shown = json.loads(await system.fanout("dlq", "show", str(dead_letter_id), "--json"))
    return bool(shown["attempts"] == attempts and shown["status"] == "parked")


async def messages(system: System, order_ids: list[str]) -> int:
    return len(
        await system.query("notifications", "SELECT 1 FROM messages WHERE order_id = ANY($1)", order_ids)
    )


async def reservation(system: System, order_id: str) -> str | None:
    rows = await system.query("inventory", "SELECT status FROM reservations WHERE order_id = $1", order_id)
    return rows[0]["status"] if rows else None


async def has_applied_redrive(system: System, order_id: str) -> bool:
    said = await system.query(
        "orders", "SELECT event_id FROM outbox WHERE aggregate_id = $1 AND type = 'OrderPlaced'", order_id
    )
    taken = "SELECT 1 FROM inbox WHERE event_id = $1 AND status = 'applied' AND redrive = 1"
    return bool(await system.query("inventory", taken, said[0]["event_id"]))


async def nothing_waits_for(system: System, consumer: str) -> bool:
    """Everything that was sent back has been received."""
    sent = await system.query(
        "dead_letters",
        "SELECT topic, kafka_partition, max(kafka_offset) AS last, bool_and(published_at IS NOT NULL) AS sent"
        " FROM outbox WHERE topic LIKE $1 GROUP BY 1, 2",
        f"%.{consumer}.retry",
    )
    progress = await system.query(consumer, "SELECT topic, partition, next_offset FROM consumer_offsets")
    reached = {(row["topic"], row["partition"]): row["next_offset"] for row in progress}
    return all(
        row["sent"] and reached.get((row["topic"], row["kafka_partition"]), 0) > row["last"] for row in sent
    )
