"""Payments rebuilt from its own events after a restore equals the one that was lost, and does nothing a second time."""

from itertools import groupby
from typing import Any

from sqlalchemy import select

from chassis.database import Database
from schemas import Event
from services.payments.domain import pay
from services.payments.service import lock, save, service
from services.payments.tables import movements, payments
from tests.integration.conftest import NewDatabase
from tests.support.sample_events import deliver, fetch, order_cancelled, order_placed, published

CONSUMED = (
    order_placed("good"),
    order_placed("bad", card_token="tok_declined"),
    order_placed("invoice", card_token=None),
    order_placed("open", card_token=None),
    order_placed("refunded"),
    order_cancelled("refunded"),
    order_cancelled("voided"),
    order_placed("voided"),
)


async def recovered(database: Database, events: list[Event]) -> None:
    async with database.transaction() as db:
        for event_type, found in groupby(events, type):
            await service.recoveries[event_type](list(found), db)


async def state(database: Database) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    moved = select(*(movements.c[name] for name in ("order_id", "kind", "amount_cents", "moved_at")))
    return (
        await fetch(database, select(payments).order_by(payments.c.order_id)),
        await fetch(database, moved.order_by(movements.c.order_id, movements.c.kind)),
    )


async def paid(database: Database, order_id: str) -> None:
    async with database.transaction() as db:
        [invoice] = await lock(db, [order_id])
        await save(db, [pay(invoice, order_placed(order_id, second=9).time)])


async def test_what_was_published_and_what_is_read_again_make_the_same_payments(
    new_database: NewDatabase,
) -> None:
    lost, restored = await new_database("payments"), await new_database("payments")
    await deliver(lost, service, *CONSUMED)
    await paid(lost, "invoice")
    await recovered(restored, await published(lost))
    await deliver(restored, service, *CONSUMED)
    assert await state(restored) == await state(lost)
    assert await published(restored) == [], "what it had published it does not publish again"


async def test_a_backup_that_has_the_payment_pending_takes_over_how_it_ended(
    new_database: NewDatabase,
) -> None:
    lost, restored = await new_database("payments"), await new_database("payments")
    for database in (lost, restored):
        await deliver(database, service, order_placed("o-1", card_token=None), order_placed("o-2"))
    before = len(await published(restored))
    await paid(lost, "o-1")
    await deliver(lost, service, order_cancelled("o-1"), order_cancelled("o-2"))
    await recovered(restored, await published(lost, after=before))
    await deliver(restored, service, order_cancelled("o-1"), order_cancelled("o-2"))
    assert await state(restored) == await state(lost)
    assert len(await published(restored)) == before
