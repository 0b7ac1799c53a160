"""Orders' handlers: the same decision in every order of arrival."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, replace
from itertools import permutations
from typing import Any

import pytest
from sqlalchemy import insert, select

from chassis.database import Database
from chassis.errors import FailureClass, PermanentFailure, classify
from schemas import Event, OrderCancelled, OrderConfirmed
from services.orders.domain import Contradiction, Order
from services.orders.service import service
from services.orders.tables import orders
from tests.integration.conftest import NewDatabase
from tests.support import sample_events


@pytest.fixture
async def database(new_database: NewDatabase) -> AsyncIterator[Database]:
    yield await new_database("orders")


async def place(database: Database, *order_ids: str) -> None:
    placed = [sample_events.order_placed(order_id) for order_id in order_ids]
    rows = [
        asdict(
            Order(
                order_id=p.order_id, customer_id=p.customer_id, currency=p.currency, total_cents=p.total_cents
            )
        )
        | {"payment_method": p.payment_method, "placed_at": p.time}
        for p in placed
    ]
    async with database.transaction() as db:
        await db.execute(insert(orders), rows)


async def state(database: Database, order_id: str) -> dict[str, Any]:
    (row,) = await sample_events.fetch(database, select(orders).where(orders.c.order_id == order_id))
    return {name: value for name, value in row.items() if name != "order_id"}


SAGAS: dict[str, tuple[str, list[Any]]] = {
    "everybody agrees": (
        "confirmed",
        [sample_events.payment_processed, sample_events.stock_reserved, sample_events.fraud_assessed],
    ),
    "the card is refused": (
        "cancelled",
        [
            lambda o: sample_events.payment_processed(o, "declined"),
            sample_events.stock_reserved,
            sample_events.fraud_assessed,
        ],
    ),
    "there is no stock": (
        "cancelled",
        [sample_events.payment_processed, sample_events.stock_rejected, sample_events.fraud_assessed],
    ),
    "the invoice is not paid": ("placed", [sample_events.stock_reserved, sample_events.fraud_assessed]),
}


@pytest.mark.parametrize("name", SAGAS)
async def test_the_final_state_is_the_same_for_every_order_of_arrival(name: str, database: Database) -> None:
    status, received = SAGAS[name]
    ends = []
    for number, arrival in enumerate(permutations(received)):
        order_id = f"o-{number}"
        await place(database, order_id)
        for fact in arrival:
            await sample_events.deliver(database, service, fact(order_id))
        ends.append(await state(database, order_id))
    assert ends[0]["status"] == status
    assert all(end == ends[0] for end in ends)


async def test_an_order_that_both_refuse_is_cancelled_once_for_the_first_reason(database: Database) -> None:
    await place(database, "o-1", "o-2")
    refusals: Sequence[Event] = [
        sample_events.payment_processed("o-1", "declined"),
        sample_events.stock_rejected("o-1"),
    ]
    await sample_events.deliver(database, service, *refusals)
    await sample_events.deliver(
        database,
        service,
        sample_events.stock_rejected("o-2"),
        sample_events.payment_processed("o-2", "declined"),
    )
    assert [
        (e.order_id, e.reason)
        for e in await sample_events.published(database)
        if isinstance(e, OrderCancelled)
    ] == [
        ("o-1", "payment_declined"),
        ("o-2", "out_of_stock"),
    ]


async def test_a_batch_decides_each_of_its_orders(database: Database) -> None:
    ids = [f"o-{number:03}" for number in range(500)]
    await place(database, *ids)
    await sample_events.deliver(
        database, service, *(sample_events.stock_reserved(order_id) for order_id in ids)
    )
    refused = set(ids[::7])
    outcomes = [
        sample_events.payment_processed(o, "declined" if o in refused else "authorized")
        for o in reversed(ids)
    ]
    await sample_events.deliver(database, service, *outcomes)
    events = await sample_events.published(database)
    assert {e.key for e in events if isinstance(e, OrderConfirmed)} == set(ids) - refused
    assert {e.key for e in events if isinstance(e, OrderCancelled)} == refused
    assert len(events) == 500
    assert not (await sample_events.broken_checks("orders", database)).get("refused orders are cancelled")


async def test_a_confirmation_has_the_later_of_the_two_event_times(database: Database) -> None:
    await place(database, "o-1")
    await sample_events.deliver(
        database,
        service,
        sample_events.payment_processed("o-1", second=9),
        sample_events.stock_reserved("o-1", second=2),
    )
    (confirmed,) = await sample_events.published(database)
    assert confirmed.occurred_at == sample_events.ms(9)
    assert confirmed.aggregate_version == 2


async def test_a_shipment_makes_a_confirmed_order_shipped_and_publishes_nothing(database: Database) -> None:
    await place(database, "o-1")
    await sample_events.deliver(
        database, service, sample_events.payment_processed("o-1"), sample_events.stock_reserved("o-1")
    )
    await sample_events.deliver(database, service, sample_events.order_shipped("o-1"))
    assert (await state(database, "o-1"))["status"] == "shipped"
    assert len(await sample_events.published(database)) == 1


async def test_a_shipment_of_a_cancelled_order_is_a_permanent_failure(database: Database) -> None:
    await place(database, "o-1")
    await sample_events.deliver(database, service, sample_events.stock_rejected("o-1"))
    with pytest.raises(Contradiction) as refusal:
        await sample_events.deliver(database, service, sample_events.order_shipped("o-1"))
    assert classify(refusal.value) is FailureClass.PERMANENT
    assert (await state(database, "o-1"))["status"] == "cancelled"


@pytest.mark.parametrize(
    "fact",
    [
        sample_events.payment_processed("o-9"),
        sample_events.stock_reserved("o-9"),
        sample_events.stock_rejected("o-9"),
        sample_events.fraud_assessed("o-9"),
        sample_events.order_shipped("o-9"),
    ],
    ids=lambda fact: fact.NAME,
)
async def test_an_event_of_an_unknown_order_is_a_permanent_failure(fact: Event, database: Database) -> None:
    with pytest.raises(PermanentFailure, match="o-9"):
        await sample_events.deliver(database, service, fact)


async def test_an_assessment_is_stored_before_and_after_the_decision_and_decides_nothing(
    database: Database,
) -> None:
    await place(database, "o-1", "o-2")
    await sample_events.deliver(database, service, sample_events.fraud_assessed("o-1"))
    await sample_events.deliver(
        database,
        service,
        sample_events.stock_rejected("o-2"),
        sample_events.fraud_assessed("o-2", suspicious=False),
    )
    early, late = await state(database, "o-1"), await state(database, "o-2")
    assert (early["status"], early["flagged"], early["fraud_score"]) == ("placed", True, 80)
    assert (late["status"], late["flagged"]) == ("cancelled", False)


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "apart"])
@pytest.mark.parametrize("arrival", [(1, 2), (2, 1)], ids=["in order", "the first one last"])
async def test_the_highest_version_of_an_assessment_is_stored_in_whatever_order_they_arrive(
    arrival: tuple[int, int], together: bool, database: Database
) -> None:
    await place(database, "o-1", "o-2")
    other = replace(sample_events.fraud_assessed("o-2"), score=5)
    versions = {
        1: replace(sample_events.fraud_assessed("o-1", suspicious=False), score=40),
        2: replace(sample_events.fraud_assessed("o-1"), assessment_version=2, score=100),
    }
    first, second = (versions[version] for version in arrival)
    for batch in [[first, other, second]] if together else [[first], [other], [second]]:
        await sample_events.deliver(database, service, *batch)
    shown = await state(database, "o-1")
    assert (shown["fraud_score"], shown["flagged"], shown["assessment_version"]) == (100, True, 2)
    assert (await state(database, "o-2"))["fraud_score"] == 5
