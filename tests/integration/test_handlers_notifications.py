"""Notifications' handlers: which messages a customer gets."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import select

from chassis.database import Database
from services.notifications.service import service as notifications
from services.notifications.tables import messages
from tests.integration.conftest import NewDatabase
from tests.support import sample_events


@pytest.fixture
async def database(new_database: NewDatabase) -> AsyncIterator[Database]:
    yield await new_database("notifications")


async def written(database: Database) -> list[tuple[str, str]]:
    rows = await sample_events.fetch(database, select(messages).order_by(messages.c.id))
    return [(row["order_id"], row["kind"]) for row in rows]


async def test_every_step_of_an_order_is_a_message(database: Database) -> None:
    await sample_events.deliver(
        database,
        notifications,
        sample_events.order_placed("o-1"),
        sample_events.order_placed("o-2"),
        sample_events.payment_processed("o-1"),
        sample_events.payment_processed("o-2", "declined"),
        sample_events.order_cancelled("o-2"),
        sample_events.order_shipped("o-1"),
    )
    assert await written(database) == [
        ("o-1", "order_placed"),
        ("o-2", "order_placed"),
        ("o-1", "payment_authorized"),
        ("o-2", "payment_declined"),
        ("o-2", "order_cancelled"),
        ("o-1", "order_shipped"),
    ]
    assert not await sample_events.broken_checks("notifications", database)


async def test_a_message_has_the_event_time(database: Database) -> None:
    shipped = sample_events.order_shipped("o-1")
    await sample_events.deliver(database, notifications, shipped)
    (row,) = await sample_events.fetch(database, select(messages))
    assert (row["customer_id"], row["created_at"]) == ("c-1", shipped.time)


async def test_a_new_message_is_unsent_and_has_a_unique_id(database: Database) -> None:
    await sample_events.deliver(
        database, notifications, sample_events.order_placed("o-1"), sample_events.order_shipped("o-1")
    )
    rows = await sample_events.fetch(database, select(messages))
    assert len({row["message_id"] for row in rows}) == 2
    assert all(row["sent_at"] is None and row["attempts"] == 0 for row in rows)


async def test_a_message_written_twice_is_stored_twice_and_breaks_a_check(database: Database) -> None:
    await sample_events.deliver(
        database, notifications, sample_events.order_shipped("o-1"), sample_events.order_shipped("o-1")
    )
    assert len(await written(database)) == 2
    assert await sample_events.broken_checks("notifications", database) == {
        "no order has the same message twice": ["o-1"],
        "no two messages have the same message id, by which a mail server drops repeats": ["o-1"],
    }
