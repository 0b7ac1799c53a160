"""An owner whose partition was revoked while it is busy does no harm beside the next owner."""

import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.consumer.batch import EventProcessor
from chassis.consumer.parking import parked
from chassis.consumer.retry import Stopped
from chassis.database import Database
from chassis.errors import PermanentFailure
from schemas import OrderConfirmed
from tests.support.recording_service import RecordingService, Schemas, confirmed, counts, noted, rows


def an_owner(recorder: RecordingService, database: Database) -> EventProcessor:
    return EventProcessor(recorder.service, database, Schemas())


async def test_an_owner_that_was_told_to_stop_begins_no_other_transaction(
    recorder: RecordingService, database: Database
) -> None:
    """It does not bisect a failed batch either: the next owner does."""
    stop, batches = asyncio.Event(), list[int]()

    async def fail(orders: Sequence[OrderConfirmed], db: AsyncConnection) -> None:
        batches.append(len(orders))
        stop.set()
        raise PermanentFailure("one of them is bad")

    recorder.service.handlers[OrderConfirmed] = fail
    with pytest.raises(Stopped):
        await an_owner(recorder, database).process([confirmed(f"order-{n}", n) for n in range(8)], stop)
    assert batches == [8]
    assert await rows(database, parked) == []


async def test_two_owners_of_the_same_records_apply_each_once_and_in_order(
    recorder: RecordingService, database: Database
) -> None:
    records = [confirmed(f"order-{n}", n) for n in range(20)]
    busy, stop, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slowly(orders: Sequence[OrderConfirmed], db: AsyncConnection) -> None:
        busy.set()
        await go_on.wait()
        await recorder.confirmed(orders, db)

    recorder.service.handlers[OrderConfirmed] = slowly
    old = asyncio.create_task(an_owner(recorder, database).process(records[:10], stop))
    await busy.wait()
    stop.set()
    new = asyncio.create_task(an_owner(recorder, database).process(records, asyncio.Event()))
    await asyncio.sleep(0.3)
    assert not new.done(), "it must wait for the rows that the old owner has claimed"
    go_on.set()
    await asyncio.gather(old, new)
    assert [order_id for order_id, _ in await noted(recorder, database)] == [f"order-{n}" for n in range(20)]
    assert (await counts(database))["next_offset"] == 20
