"""Payments' handlers: charges and refunds, in whatever order orders and cancellations arrive."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import select

from chassis.database import Database
from schemas import PaymentProcessed, PaymentRefunded
from services.payments.service import service
from services.payments.tables import movements, payments
from tests.integration.conftest import NewDatabase
from tests.support import sample_events


@pytest.fixture
async def database(new_database: NewDatabase) -> AsyncIterator[Database]:
    database = await new_database("payments")
    yield database
    assert not await sample_events.broken_checks("payments", database)


async def payment_of(database: Database, order_id: str) -> dict[str, Any]:
    (row,) = await sample_events.fetch(database, select(payments).where(payments.c.order_id == order_id))
    return row


async def money_moved(database: Database) -> list[tuple[str, str, int]]:
    rows = await sample_events.fetch(database, select(movements).order_by(movements.c.id))
    return [(row["order_id"], row["kind"], row["amount_cents"]) for row in rows]


async def test_a_card_is_decided_at_once_and_an_invoice_is_pending(database: Database) -> None:
    tokens = {"good": "tok_visa", "bad": "tok_declined", "poor": "tok_insufficient_funds", "invoice": None}
    await sample_events.deliver(
        database,
        service,
        *(sample_events.order_placed(order, card_token=token) for order, token in tokens.items()),
    )
    said = {event.key: event for event in await sample_events.published(database)}
    outcomes = {o: (e.outcome, e.decline_reason) for o, e in said.items() if isinstance(e, PaymentProcessed)}
    assert outcomes == {
        "good": ("authorized", None),
        "bad": ("declined", "card_declined"),
        "poor": ("declined", "insufficient_funds"),
    }
    assert (await payment_of(database, "invoice"))["status"] == "pending"
    assert await money_moved(database) == [("good", "authorization", 1000)]


async def test_an_order_placed_twice_under_two_event_ids_is_charged_once(database: Database) -> None:
    await sample_events.deliver(
        database, service, sample_events.order_placed("o-1"), sample_events.order_placed("o-1")
    )
    await sample_events.deliver(
        database, service, sample_events.order_placed("o-1"), sample_events.order_placed("o-2")
    )
    assert await money_moved(database) == [("o-1", "authorization", 1000), ("o-2", "authorization", 1000)]
    assert [event.key for event in await sample_events.published(database)] == ["o-1", "o-2"]


@pytest.mark.parametrize(
    ("card_token", "status", "events"),
    [
        ("tok_visa", "refunded", [PaymentProcessed, PaymentRefunded]),
        ("tok_declined", "declined", [PaymentProcessed]),
        (None, "voided", []),
    ],
)
async def test_a_cancellation_reverses_a_payment_once(
    card_token: str | None, status: str, events: list[type], database: Database
) -> None:
    cancelled = sample_events.order_cancelled("o-1")
    await sample_events.deliver(
        database, service, sample_events.order_placed("o-1", card_token=card_token), cancelled
    )
    await sample_events.deliver(database, service, cancelled)
    assert (await payment_of(database, "o-1"))["status"] == status
    said = await sample_events.published(database)
    assert [type(event) for event in said] == events
    assert [event.aggregate_version for event in said] == list(range(1, len(events) + 1))


@pytest.mark.parametrize("card_token", ["tok_visa", "tok_declined", None])
async def test_an_order_whose_cancellation_arrived_first_is_never_charged(
    card_token: str | None, database: Database
) -> None:
    await sample_events.deliver(database, service, sample_events.order_cancelled("o-1"))
    await sample_events.deliver(database, service, sample_events.order_placed("o-1", card_token=card_token))
    await sample_events.deliver(database, service, sample_events.order_placed("o-1", card_token=card_token))
    assert await sample_events.published(database) == []
    assert await money_moved(database) == []
    assert (await payment_of(database, "o-1"))["status"] == "voided"


async def test_an_invoice_cancelled_before_or_after_it_is_known_ends_the_same(database: Database) -> None:
    await sample_events.deliver(database, service, sample_events.order_placed("in-order", card_token=None))
    await sample_events.deliver(database, service, sample_events.order_cancelled("in-order"))
    await sample_events.deliver(database, service, sample_events.order_cancelled("overtaken"))
    await sample_events.deliver(database, service, sample_events.order_placed("overtaken", card_token=None))
    in_order, overtaken = await payment_of(database, "in-order"), await payment_of(database, "overtaken")
    own = {"order_id", "payment_id"}
    assert {k: v for k, v in in_order.items() if k not in own} == (
        {k: v for k, v in overtaken.items() if k not in own}
    )


async def test_an_order_and_its_cancellation_at_the_same_time_leave_no_money_charged(
    database: Database,
) -> None:
    for number in range(20):
        order_id = f"o-{number}"
        await asyncio.gather(
            sample_events.deliver(database, service, sample_events.order_placed(order_id)),
            sample_events.deliver(database, service, sample_events.order_cancelled(order_id)),
        )
        assert (await payment_of(database, order_id))["status"] in ("refunded", "voided")


async def test_a_full_batch_of_orders_is_charged_and_one_of_cancellations_refunded(
    database: Database,
) -> None:
    ids = [f"o-{number:03}" for number in range(500)]
    await sample_events.deliver(
        database, service, *(sample_events.order_placed(order_id) for order_id in reversed(ids))
    )
    await sample_events.deliver(
        database, service, *(sample_events.order_cancelled(order_id) for order_id in ids)
    )
    assert len(await money_moved(database)) == len(await sample_events.published(database)) == 1000
