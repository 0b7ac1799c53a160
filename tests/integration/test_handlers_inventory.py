"""Inventory's handlers: who gets stock, who does not, and how it is put back."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from asyncpg import CheckViolationError
from sqlalchemy import select

from chassis.database import Database
from chassis.errors import FailureClass, classify
from schemas import ReservedLine, Shortage, StockRejected, StockReleased, StockReserved
from services.inventory.service import service as inventory
from services.inventory.tables import reservations, stock
from tests.integration.conftest import NewDatabase
from tests.support import sample_events

LIMITED = "limited-print"
IN_STOCK = 20


@pytest.fixture
async def database(new_database: NewDatabase) -> AsyncIterator[Database]:
    database = await new_database("inventory")
    yield database
    assert not await sample_events.broken_checks("inventory", database)


async def on_hand(database: Database, product_id: str = LIMITED) -> int:
    (row,) = await sample_events.fetch(
        database, select(stock.c.on_hand).where(stock.c.product_id == product_id)
    )
    return int(row["on_hand"])


async def statuses(database: Database) -> dict[str, str]:
    return {
        row["order_id"]: row["status"] for row in await sample_events.fetch(database, select(reservations))
    }


async def test_stock_is_reserved_for_all_lines_of_an_order(database: Database) -> None:
    await sample_events.deliver(
        database, inventory, sample_events.order_placed("o-1", {LIMITED: 3, "mug": 2})
    )
    (reserved,) = await sample_events.published(database)
    assert isinstance(reserved, StockReserved)
    assert reserved.lines == (
        ReservedLine(product_id=LIMITED, quantity=3),
        ReservedLine(product_id="mug", quantity=2),
    )
    assert await on_hand(database) == IN_STOCK - 3


async def test_an_order_that_misses_one_line_gets_none(database: Database) -> None:
    wanted = {"mug": 1, LIMITED: 21, "sold-out-poster": 1, "unicorn": 2}
    await sample_events.deliver(database, inventory, sample_events.order_placed("o-1", wanted))
    (rejected,) = await sample_events.published(database)
    assert isinstance(rejected, StockRejected)
    assert rejected.shortages == (
        Shortage(product_id=LIMITED, requested=21, available=20),
        Shortage(product_id="sold-out-poster", requested=1, available=0),
        Shortage(product_id="unicorn", requested=2, available=0),
    )
    assert (await on_hand(database), await on_hand(database, "mug")) == (IN_STOCK, 1_000_000)


async def test_within_a_batch_orders_are_served_first_come_first_served(database: Database) -> None:
    wanted = {"z": 15, "y": 6, "x": 5, "w": 1}
    await sample_events.deliver(
        database,
        inventory,
        *(sample_events.order_placed(order, {LIMITED: units}) for order, units in wanted.items()),
    )
    assert await statuses(database) == {"z": "reserved", "y": "rejected", "x": "reserved", "w": "rejected"}
    assert [type(event) for event in await sample_events.published(database)] == [
        StockReserved,
        StockRejected,
        StockReserved,
        StockRejected,
    ]
    assert await on_hand(database) == 0


async def test_a_cancelled_order_releases_its_stock_once(database: Database) -> None:
    await sample_events.deliver(
        database,
        inventory,
        sample_events.order_placed("o-1", {LIMITED: 20}),
        sample_events.order_placed("o-2", {LIMITED: 1}),
    )
    cancelled = [sample_events.order_cancelled("o-2"), sample_events.order_cancelled("o-1")]
    await sample_events.deliver(database, inventory, *cancelled)
    await sample_events.deliver(database, inventory, *cancelled)
    assert await statuses(database) == {"o-1": "released", "o-2": "rejected"}
    assert await on_hand(database) == IN_STOCK
    (released,) = (
        event for event in await sample_events.published(database) if isinstance(event, StockReleased)
    )
    assert released.lines == (ReservedLine(product_id=LIMITED, quantity=20),)
    assert (released.aggregate_version, released.occurred_at) == (2, cancelled[1].occurred_at)


async def test_an_order_whose_cancellation_arrived_first_reserves_nothing(database: Database) -> None:
    await sample_events.deliver(database, inventory, sample_events.order_cancelled("o-1"))
    await sample_events.deliver(
        database,
        inventory,
        sample_events.order_placed("o-1", {LIMITED: 5}),
        sample_events.order_placed("o-2"),
    )
    assert await statuses(database) == {"o-1": "void", "o-2": "reserved"}
    assert [event.key for event in await sample_events.published(database)] == ["o-2"]
    assert await on_hand(database) == IN_STOCK


async def test_an_order_placed_twice_under_two_event_ids_reserves_once(database: Database) -> None:
    twice = [sample_events.order_placed("o-1", {LIMITED: 5})] * 2
    await sample_events.deliver(database, inventory, *twice)
    await sample_events.deliver(database, inventory, *twice)
    assert await on_hand(database) == IN_STOCK - 5
    assert len(await sample_events.published(database)) == 1


async def test_concurrent_orders_never_reserve_more_than_is_on_hand(database: Database) -> None:
    orders = [sample_events.order_placed(f"o-{number}", {LIMITED: 3, "mug": 1}) for number in range(10)]
    await asyncio.gather(*(sample_events.deliver(database, inventory, order) for order in orders))
    held = list((await statuses(database)).values())
    assert (held.count("reserved"), held.count("rejected")) == (6, 4)
    assert await on_hand(database) == 2


async def test_batches_that_lock_the_same_products_in_opposite_order_do_not_deadlock(
    database: Database,
) -> None:
    products = ["mug", "pencil", "notebook", "beans-1kg", "filter-100"]
    batches = [
        [
            sample_events.order_placed(f"o-{batch}-{n}", {product: 1})
            for n, product in enumerate(products[::step])
        ]
        for batch, step in enumerate([1, -1] * 4)
    ]
    await asyncio.gather(*(sample_events.deliver(database, inventory, *batch) for batch in batches))
    assert len(await sample_events.published(database)) == 40


async def test_an_order_and_its_cancellation_at_the_same_time_leave_nothing_reserved(
    database: Database,
) -> None:
    for number in range(20):
        await asyncio.gather(
            sample_events.deliver(
                database, inventory, sample_events.order_placed(f"o-{number}", {LIMITED: 20})
            ),
            sample_events.deliver(database, inventory, sample_events.order_cancelled(f"o-{number}")),
        )
        assert await on_hand(database) == IN_STOCK


@pytest.mark.parametrize("quantity", [0, -5])
async def test_an_order_for_less_than_one_unit_is_a_permanent_failure(
    quantity: int, database: Database
) -> None:
    with pytest.raises(CheckViolationError) as refusal:
        await sample_events.deliver(
            database, inventory, sample_events.order_placed("o-1", {LIMITED: quantity})
        )
    assert classify(refusal.value) is FailureClass.PERMANENT
    assert await on_hand(database) == IN_STOCK
