"""Fulfillment's handlers: an order ships once, in whatever order its events arrive."""

import asyncio
from collections.abc import AsyncIterator
from itertools import permutations
from typing import Any

import pytest
from sqlalchemy import select

from chassis.database import Database
from schemas import OrderShipped
from services.fulfillment.service import service as fulfillment
from services.fulfillment.tables import shipments
from tests.integration.conftest import NewDatabase
from tests.support import sample_events

PLACED, CONFIRMED, CANCELLED = (
    sample_events.order_placed,
    sample_events.order_confirmed,
    sample_events.order_cancelled,
)


@pytest.fixture
async def database(new_database: NewDatabase) -> AsyncIterator[Database]:
    database = await new_database("fulfillment")
    yield database
    assert not await sample_events.broken_checks("fulfillment", database)


async def state(database: Database, order_id: str) -> dict[str, Any]:
    (row,) = await sample_events.fetch(database, select(shipments).where(shipments.c.order_id == order_id))
    return {name: row[name] for name in row if name not in ("order_id", "shipment_id", "tracking_code")}


@pytest.mark.parametrize(
    ("received", "ships"),
    [
        ([PLACED], False),
        ([CONFIRMED], False),
        ([PLACED, CONFIRMED], True),
        ([PLACED, CONFIRMED, CONFIRMED], True),
        ([PLACED, CANCELLED], False),
        ([CANCELLED], False),
    ],
    ids=lambda received: "-".join(fact.__name__ for fact in received) if isinstance(received, list) else None,
)
async def test_an_order_ships_once_when_it_is_known_and_confirmed(
    received: list[Any], ships: bool, database: Database
) -> None:
    ends = []
    for number, arrival in enumerate(permutations(received)):
        for fact in arrival:
            await sample_events.deliver(database, fulfillment, fact(f"o-{number}"))
        ends.append(await state(database, f"o-{number}"))
    assert all(end == ends[0] for end in ends)
    assert (ends[0]["shipped_at"] is not None) is ships
    assert len(await sample_events.published(database)) == (len(ends) if ships else 0)


async def test_a_cancelled_order_is_never_shipped_even_if_it_is_confirmed(database: Database) -> None:
    await sample_events.deliver(database, fulfillment, CANCELLED("o-1"), PLACED("o-1"), CONFIRMED("o-1"))
    await sample_events.deliver(database, fulfillment, PLACED("o-2"), CANCELLED("o-2"), CONFIRMED("o-2"))
    assert await sample_events.published(database) == []


async def test_a_shipment_has_the_later_of_the_event_times_of_its_causes(database: Database) -> None:
    await sample_events.deliver(database, fulfillment, CONFIRMED("o-1", second=2), PLACED("o-1", second=7))
    (shipped,) = await sample_events.published(database)
    assert isinstance(shipped, OrderShipped)
    assert shipped.occurred_at == sample_events.ms(7)


async def test_a_batch_ships_every_order_that_is_complete(database: Database) -> None:
    ids = [f"o-{number:03}" for number in range(500)]
    await sample_events.deliver(database, fulfillment, *map(CONFIRMED, reversed(ids)))
    await sample_events.deliver(database, fulfillment, *map(PLACED, ids[:400]))
    assert {event.key for event in await sample_events.published(database)} == set(ids[:400])


async def test_an_order_and_its_confirmation_at_the_same_time_are_one_shipment(database: Database) -> None:
    for number in range(20):
        order_id = f"o-{number}"
        await asyncio.gather(
            sample_events.deliver(database, fulfillment, PLACED(order_id)),
            sample_events.deliver(database, fulfillment, CONFIRMED(order_id)),
        )
    assert len(await sample_events.published(database)) == 20


async def test_each_order_of_a_batch_keeps_its_own_contents(database: Database) -> None:
    lines = {
        "one": {"mug": 2},
        "two": {"mug": 1, "pencil": 3},
        "three": {"mug": 1, "pencil": 1, "notebook": 1},
    }
    await sample_events.deliver(
        database, fulfillment, *(PLACED(order_id, lines[order_id]) for order_id in lines)
    )
    for order_id, wanted in lines.items():
        contents = (await state(database, order_id))["contents"]
        assert {line["product_id"]: line["quantity"] for line in contents} == wanted
