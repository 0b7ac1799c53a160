"""A message that ends the process instead of raising: it is found by its trail of deaths, and parked unread."""

import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import Database
from chassis.parking import parked
from chassis.processing import Processor
from chassis.record import Record
from chassis.starts import STARTS, starts
from schemas import OrderConfirmed
from tests.integration.desk import Desk, Schemas, confirmed, noted, record, rows


class Death(BaseException):
    """Ends the process: nothing in it gets to clean up."""


def a_process(desk: Desk, database: Database) -> Processor:
    return Processor(desk.service, database, Schemas())  # type: ignore[arg-type]


def kills(desk: Desk, *order_ids: str) -> None:
    async def read(orders: Sequence[OrderConfirmed], db: AsyncConnection) -> None:
        if any(order.order_id in order_ids for order in orders):
            raise Death
        await desk.confirmed(orders, db)

    desk.service.reactions[OrderConfirmed] = read


async def lives_until_done(desk: Desk, database: Database, records: Sequence[Record]) -> int:
    """How many processes died on the way."""
    for deaths in range(20):
        try:
            await a_process(desk, database).process(records, asyncio.Event())
        except Death:
            continue
        return deaths
    raise AssertionError("they die for ever")


@pytest.mark.parametrize("place", [0, 2, 4])
async def test_what_kills_three_times_is_parked_and_its_neighbours_are_applied_once(
    desk: Desk, database: Database, place: int
) -> None:
    kills(desk, f"order-{place}")
    records = [confirmed(f"order-{n}", n) for n in range(5)]
    assert await lives_until_done(desk, database, records) == STARTS
    assert sorted(order_id for order_id, _ in await noted(desk, database)) == [
        f"order-{n}" for n in range(5) if n != place
    ]
    [kept] = await rows(database, parked)
    assert (kept.kafka_offset, kept.error_type, kept.attempts) == (place, "KilledItsWorker", STARTS)
    assert kept.value == records[place].value
    assert await rows(database, starts) == []


async def test_two_that_kill_are_both_found(desk: Desk, database: Database) -> None:
    kills(desk, "order-1", "order-3")
    await lives_until_done(desk, database, [confirmed(f"order-{n}", n) for n in range(5)])
    assert [row.kafka_offset for row in await rows(database, parked)] == [1, 3]
    assert len(await noted(desk, database)) == 3


async def test_one_that_cannot_even_be_read_is_parked_unread(
    desk: Desk, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read(*_: object) -> None:
        raise Death

    monkeypatch.setattr("chassis.processing.read", read)
    await lives_until_done(desk, database, [record("OrderConfirmed", "bomb", 7, b"a small bomb")])
    [kept] = await rows(database, parked)
    assert (kept.kafka_offset, kept.value) == (7, b"a small bomb")


async def test_a_worker_that_leaves_in_good_order_blames_nobody(desk: Desk, database: Database) -> None:
    """A slow batch that changes hands again and again is no killer."""
    kills(desk, "slow")
    for _ in range(3 * STARTS):
        process = a_process(desk, database)
        with pytest.raises(Death):
            await process.process([confirmed("slow", 0)], asyncio.Event())
        await process.leave([("orders", 0)])
    assert await rows(database, parked) == []


async def test_only_the_first_batch_of_a_partition_is_noted(desk: Desk, database: Database) -> None:
    process = a_process(desk, database)
    await process.process([confirmed("a", 0)], asyncio.Event())
    await process.process([confirmed("b", 1)], asyncio.Event())
    [note] = await rows(database, starts)
    assert (note.kafka_offset, note.times) == (0, 1)


async def test_a_death_at_another_place_starts_a_new_count(desk: Desk, database: Database) -> None:
    kills(desk, *(f"order-{n}" for n in range(9)))
    for offset in range(9):
        with pytest.raises(Death):
            await a_process(desk, database).process([confirmed(f"order-{offset}", offset)], asyncio.Event())
        [note] = await rows(database, starts)
        assert (note.kafka_offset, note.times) == (offset, 1)
    assert await rows(database, parked) == []
