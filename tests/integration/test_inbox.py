"""The inbox on a real Postgres: of any number of concurrent claims of an event, one wins."""

import asyncio
from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import func, select

from chassis.consumer.inbox import claim, inbox
from chassis.consumer.parking import mark_parked
from chassis.database import Database
from tests.integration.conftest import NewDatabase

CONSUMER = "fraud"


async def claim_alone(database: Database, *events: tuple[UUID, int]) -> set[UUID]:
    async with database.transaction() as db:
        return await claim(db, CONSUMER, events)


async def park_alone(database: Database, event_id: UUID, redrive: int) -> set[UUID]:
    async with database.transaction() as db:
        return await mark_parked(db, CONSUMER, [(event_id, redrive)])


async def received_at(database: Database) -> datetime:
    async with database.transaction() as db:
        [at] = (await db.execute(select(inbox.c.received_at))).scalars()
        assert isinstance(at, datetime)
        return at


async def test_concurrent_claims_of_the_same_events_have_one_winner_each(new_database: NewDatabase) -> None:
    database = await new_database("fraud")
    events = [(uuid4(), 0) for _ in range(200)]
    won = await asyncio.gather(*(claim_alone(database, *events) for _ in range(8)))
    assert sorted(event_id for claims in won for event_id in claims) == sorted(
        event_id for event_id, _ in events
    )
    async with database.transaction() as db:
        assert await db.scalar(select(func.count()).select_from(inbox)) == 200


async def test_overlapping_claims_in_opposite_order_do_not_deadlock(new_database: NewDatabase) -> None:
    database = await new_database("fraud")
    events = [(uuid4(), 0) for _ in range(300)]
    orders = [events, events[::-1], events[150:] + events[:150]] * 3
    won = await asyncio.gather(*(claim_alone(database, *order) for order in orders))
    assert sum(map(len, won)) == 300


async def test_a_claim_that_is_rolled_back_leaves_the_event_to_the_next(new_database: NewDatabase) -> None:
    database = await new_database("fraud")
    event = uuid4()
    try:
        async with database.transaction() as db:
            await claim(db, CONSUMER, [(event, 0)])
            raise RuntimeError("the effect failed")
    except RuntimeError:
        pass
    assert await claim_alone(database, (event, 0)) == {event}


async def test_two_consumers_each_get_the_same_event(new_database: NewDatabase) -> None:
    database = await new_database("fraud")
    event = uuid4()
    async with database.transaction() as db:
        assert await claim(db, "one", [(event, 0)]) == await claim(db, "another", [(event, 0)]) == {event}


async def test_a_parked_event_is_taken_up_once_for_each_redrive(new_database: NewDatabase) -> None:
    database = await new_database("fraud")
    event = uuid4()
    await park_alone(database, event, 0)
    assert await claim_alone(database, (event, 0)) == set()
    won = await asyncio.gather(*(claim_alone(database, (event, 1)) for _ in range(5)))
    assert sorted(map(len, won)) == [0, 0, 0, 0, 1]
    assert await claim_alone(database, (event, 2)) == set(), "applied is final"


async def test_parking_an_applied_event_changes_nothing(new_database: NewDatabase) -> None:
    database = await new_database("fraud")
    event = uuid4()
    await claim_alone(database, (event, 0))
    assert await park_alone(database, event, 3) == set()
    async with database.transaction() as db:
        assert await db.scalar(select(inbox.c.status)) == "applied"


async def test_a_parked_event_may_be_parked_again_whatever_its_redrive_count(
    new_database: NewDatabase,
) -> None:
    database = await new_database("fraud")
    event = uuid4()
    for redrive in (0, 0, 2, 1):
        assert await park_alone(database, event, redrive) == {event}
    async with database.transaction() as db:
        assert await db.scalar(select(inbox.c.redrive)) == 2


async def test_received_at_is_the_time_of_the_last_change_of_the_row(new_database: NewDatabase) -> None:
    database = await new_database("fraud")
    event = uuid4()
    await park_alone(database, event, 0)
    first = await received_at(database)
    await park_alone(database, event, 0)
    assert await received_at(database) == first
    await park_alone(database, event, 1)
    redriven = await received_at(database)
    await claim_alone(database, (event, 2))
    assert first < redriven < await received_at(database)
