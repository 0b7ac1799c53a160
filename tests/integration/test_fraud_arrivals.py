"""Fraud gives the same verdicts however orders arrive: in any order, and several partitions at once."""

import asyncio
from collections.abc import Sequence
from random import Random

import pytest

from chassis.database import Database
from schemas import FraudAssessed, OrderPlaced
from services.fraud.domain import MANY_ORDERS, judge
from services.fraud.service import service as fraud
from tests.integration.conftest import NewDatabase
from tests.integration.test_handlers_fraud import verdicts
from tests.support import sample_events

PARTITIONS = 6
WINDOW_SECONDS = 600

Verdicts = dict[str, tuple[int, bool, tuple[str, ...]]]


@pytest.fixture
async def database(new_database: NewDatabase) -> Database:
    return await new_database("fraud")


def right(orders: Sequence[OrderPlaced]) -> Verdicts:
    """By the rule, from all orders at once."""
    found: Verdicts = {}
    for this in orders:
        recent = sum(
            other.customer_id == this.customer_id
            and other.occurred_at >= this.occurred_at - WINDOW_SECONDS * 1000
            and (other.occurred_at, other.order_id) < (this.occurred_at, this.order_id)
            for other in orders
        )
        verdict = judge(this.order_id, this.total_cents, recent)
        found[this.order_id] = verdict.score, verdict.suspicious, verdict.rules
    return found


def some_orders(random: Random, number: int, customers: int, seconds: float) -> list[OrderPlaced]:
    return [
        sample_events.order_placed(
            f"o-{n:03}",
            second=random.choice((0.0, random.uniform(0, seconds))),
            customer_id=f"c-{random.randrange(customers)}",
            unit_price_cents=random.choice((1_000, 50_000, 200_000)),
        )
        for n in range(number)
    ]


async def arrive(database: Database, random: Random, orders: Sequence[OrderPlaced]) -> None:
    """By six partitions at once, each in batches of its own."""
    partitions = [list(orders[number::PARTITIONS]) for number in range(PARTITIONS)]

    async def work(left: list[OrderPlaced]) -> None:
        while left:
            size = random.randint(1, 4)
            batch, left = left[:size], left[size:]
            await sample_events.deliver(database, fraud, *batch)

    await asyncio.gather(*map(work, partitions))


async def test_seven_of_twelve_orders_at_once_are_suspicious(database: Database) -> None:
    orders = [sample_events.order_placed(f"o-{n:02}", second=n) for n in range(12)]
    await asyncio.gather(*(sample_events.deliver(database, fraud, order) for order in orders))
    found = await verdicts(database)
    assert sorted(order for order, (_, suspicious, _) in found.items() if suspicious) == [
        order.order_id for order in orders[MANY_ORDERS:]
    ]
    assert not await sample_events.broken_checks("fraud", database)


@pytest.mark.parametrize("seed", range(8))
async def test_every_order_of_arrival_and_concurrency_gives_the_same_verdicts(
    seed: int, database: Database
) -> None:
    random = Random(seed)
    orders = some_orders(random, number=60, customers=3, seconds=random.choice((500, 1500)))
    random.shuffle(orders)
    await arrive(database, random, orders)
    assert await verdicts(database) == right(orders)
    assert not await sample_events.broken_checks("fraud", database)


async def test_an_order_that_arrives_late_revises_those_placed_after_it(database: Database) -> None:
    late, *others = [sample_events.order_placed(f"o-{n}", second=n) for n in range(MANY_ORDERS + 1)]
    await sample_events.deliver(database, fraud, *others)
    assert not any(suspicious for _, suspicious, _ in (await verdicts(database)).values())
    await sample_events.deliver(database, fraud, late)
    revised = (await sample_events.published(database))[-1]
    assert revised == FraudAssessed(
        order_id=others[-1].order_id,
        assessment_version=2,
        score=60,
        suspicious=True,
        rules=("many_orders",),
        occurred_at=others[-1].occurred_at,
    )
    assert await verdicts(database) == right([late, *others])


async def test_batches_that_lock_the_same_customers_in_opposite_order_do_not_deadlock(
    database: Database,
) -> None:
    batches = [
        [sample_events.order_placed(f"{b}-{n:03}", second=n, customer_id=f"c-{n % 50}") for n in range(100)]
        for b in range(PARTITIONS)
    ]
    await asyncio.gather(
        *(
            sample_events.deliver(database, fraud, *(batch if number % 2 else batch[::-1]))
            for number, batch in enumerate(batches)
        )
    )
    assert await verdicts(database) == right([order for batch in batches for order in batch])


async def test_only_orders_of_the_same_customers_wait_for_each_other(database: Database) -> None:
    async with database.transaction() as db:
        await fraud.handlers[OrderPlaced]([sample_events.order_placed("a", customer_id="c-1")], db)
        async with asyncio.timeout(5):
            await sample_events.deliver(database, fraud, sample_events.order_placed("b", customer_id="c-2"))
        same = asyncio.create_task(
            sample_events.deliver(database, fraud, sample_events.order_placed("c", customer_id="c-1"))
        )
        done, _ = await asyncio.wait({same}, timeout=0.3)
        assert not done
    await same
