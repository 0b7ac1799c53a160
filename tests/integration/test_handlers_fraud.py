"""Fraud's handler: scores by event time alone, in every order of arrival within a batch."""

from collections.abc import AsyncIterator
from itertools import permutations

import pytest
from sqlalchemy import select

from chassis.database import Database
from schemas import FraudAssessed
from services.fraud.domain import MANY_ORDERS
from services.fraud.service import service as fraud
from services.fraud.tables import assessments
from tests.integration.conftest import NewDatabase
from tests.support import sample_events


@pytest.fixture
async def database(new_database: NewDatabase) -> AsyncIterator[Database]:
    database = await new_database("fraud")
    yield database
    assert not await sample_events.broken_checks("fraud", database)


async def verdicts(database: Database) -> dict[str, tuple[int, bool, tuple[str, ...]]]:
    """As published last, which is what the database says."""
    events = [event for event in await sample_events.published(database) if isinstance(event, FraudAssessed)]
    rows = await sample_events.fetch(database, select(assessments))
    latest = {event.order_id: event for event in events}
    assert {(r["order_id"], r["score"], r["assessment_version"]) for r in rows} == {
        (e.order_id, e.score, e.assessment_version) for e in latest.values()
    }
    return {event.order_id: (event.score, event.suspicious, event.rules) for event in events}


async def test_the_sixth_order_in_ten_minutes_is_suspicious(database: Database) -> None:
    for number in range(MANY_ORDERS + 1):
        await sample_events.deliver(
            database, fraud, sample_events.order_placed(f"o-{number}", second=number * 60)
        )
    found = await verdicts(database)
    assert found["o-4"] == (0, False, ())
    assert found["o-5"] == (60, True, ("many_orders",))


@pytest.mark.parametrize(
    ("second", "customer", "suspicious"),
    [(600, "c-1", True), (600.001, "c-1", False), (1, "c-2", False), (-1, "c-1", False)],
    ids=["ten minutes after", "a moment later", "somebody else", "before them"],
)
async def test_only_orders_of_that_customer_in_the_window_before_count(
    second: float, customer: str, suspicious: bool, database: Database
) -> None:
    earlier = [sample_events.order_placed(f"o-{number}") for number in range(MANY_ORDERS)]
    await sample_events.deliver(database, fraud, *earlier)
    await sample_events.deliver(
        database, fraud, sample_events.order_placed("p", second=second, customer_id=customer)
    )
    assert (await verdicts(database))["p"][1] is suspicious


async def test_within_a_batch_the_verdicts_are_the_same_for_every_order_of_arrival(
    database: Database,
) -> None:
    seconds = [0, 0, 100, 700, 700, 701]
    ends = []
    for number, arrival in enumerate(list(permutations(range(6)))[::37]):
        orders = [
            sample_events.order_placed(
                f"{number}-{n}", second=seconds[n], customer_id=f"c-{number}", unit_price_cents=50_000
            )
            for n in arrival
        ]
        await sample_events.deliver(database, fraud, *orders)
        ends.append(
            {
                o.partition("-")[2]: v
                for o, v in (await verdicts(database)).items()
                if o.startswith(f"{number}-")
            }
        )
    assert all(end == ends[0] for end in ends)


async def test_a_large_amount_alone_is_suspicious(database: Database) -> None:
    await sample_events.deliver(
        database, fraud, sample_events.order_placed("o-1", {"espresso-machine": 4}, unit_price_cents=64_900)
    )
    assert await verdicts(database) == {"o-1": (80, True, ("large_amount", "very_large_amount"))}


async def test_a_full_batch_of_one_customer_gets_a_verdict_each(database: Database) -> None:
    await sample_events.deliver(
        database, fraud, *(sample_events.order_placed(f"o-{n:03}", second=n / 10) for n in range(500))
    )
    found = await verdicts(database)
    assert [found[f"o-{n:03}"][1] for n in range(500)] == [False] * MANY_ORDERS + [True] * (500 - MANY_ORDERS)
