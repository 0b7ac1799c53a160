"""A service that records the events it handles and fails as told, and records for it to handle."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from sqlalchemy import Column, Identity, Integer, MetaData, Table, Text, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.consumer.batch import EventProcessor
from chassis.consumer.offsets import consumer_offsets
from chassis.database import Database
from chassis.errors import InfrastructureFailure
from chassis.events.avro import encode, frame
from chassis.events.record import Record
from chassis.outbox.publish import publish
from chassis.service import Service
from schemas import FraudAssessed, OrderCancelled, OrderConfirmed
from schemas.files import parsed_schema
from tests.support.stack_fixtures import NewDatabase

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CONFIRMED, CANCELLED = 1, 2


class Schemas:
    """The registry as processing sees it; `away` makes it unreachable for that many questions."""

    def __init__(self, away: int = 0) -> None:
        self.away = away

    async def schema_by_id(self, schema_id: int) -> dict[str, Any]:
        if self.away:
            self.away -= 1
            raise InfrastructureFailure("registry away")
        return parsed_schema({CONFIRMED: OrderConfirmed, CANCELLED: OrderCancelled}[schema_id])

    async def is_registered(self, schema_id: int, subject: str) -> bool:
        return subject.endswith(f"-{(await self.schema_by_id(schema_id))['name']}")


class RecordingService:
    """Records the events it handles; raises for each order id the errors in `failures`, one per attempt."""

    def __init__(self) -> None:
        self.service = Service("fraud", MetaData())
        self.notes = Table(
            "notes",
            self.service.metadata,
            Column("id", Integer, Identity(), primary_key=True),
            Column("order_id", Text),
            Column("kind", Text),
        )
        self.failures: dict[str, list[Exception]] = {}
        self.also_about: str | None = None
        """An order that it publishes an event about each time, though none of its events is handled."""
        self.batches: list[list[str]] = []
        self.service.on(OrderConfirmed)(self.confirmed)
        self.service.on(OrderCancelled)(self.cancelled)

    async def confirmed(self, orders: Sequence[OrderConfirmed], db: AsyncConnection) -> None:
        await self.note("confirmed", [order.order_id for order in orders], db)

    async def cancelled(self, orders: Sequence[OrderCancelled], db: AsyncConnection) -> None:
        await self.note("cancelled", [order.order_id for order in orders], db)

    async def note(self, kind: str, order_ids: list[str], db: AsyncConnection) -> None:
        self.batches.append(order_ids)
        await db.execute(insert(self.notes), [{"order_id": order_id, "kind": kind} for order_id in order_ids])
        await publish(db, [assessed(order_id) for order_id in order_ids if kind == "confirmed"])
        if self.also_about:
            await publish(db, [assessed(self.also_about)])
        for order_id in order_ids:
            if self.failures.get(order_id):
                raise self.failures[order_id].pop(0)


def assessed(order_id: str) -> FraudAssessed:
    return FraudAssessed(
        order_id=order_id, assessment_version=1, occurred_at=0, score=0, suspicious=False, rules=()
    )


def confirmed(order_id: str, offset: int) -> Record:
    event = OrderConfirmed(
        order_id=order_id, order_version=2, occurred_at=0, customer_id="c", total_cents=1, currency="EUR"
    )
    return record("OrderConfirmed", order_id, offset, frame(CONFIRMED, encode(event)))


def cancelled(order_id: str, offset: int) -> Record:
    event = OrderCancelled(
        order_id=order_id, order_version=2, occurred_at=0, customer_id="c", reason="customer_request"
    )
    return record("OrderCancelled", order_id, offset, frame(CANCELLED, encode(event)))


def record(type_name: str, order_id: str, offset: int, value: bytes) -> Record:
    headers = [
        ("ce_type", type_name),
        ("ce_id", str(uuid4())),
        ("ce_subject", order_id),
        ("traceparent", TRACE),
    ]
    encoded = [(name, text.encode()) for name, text in headers]
    return Record("orders", 0, offset, 1_700_000_000_000, order_id.encode(), value, encoded)


async def recorder_database(recorder: RecordingService, new_database: NewDatabase) -> Database:
    database = await new_database("fraud")
    async with database.engine.begin() as connection:
        await connection.run_sync(recorder.notes.create)
    return database


async def work(
    recorder: RecordingService, database: Database, *records: Record, schemas: Schemas | None = None
) -> None:
    processor = EventProcessor(recorder.service, database, schemas or Schemas())
    await processor.process(records, asyncio.Event())


async def noted(recorder: RecordingService, database: Database) -> list[tuple[str, str]]:
    async with database.transaction() as db:
        rows = await db.execute(
            select(recorder.notes.c.order_id, recorder.notes.c.kind).order_by(recorder.notes.c.id)
        )
        return [(row.order_id, row.kind) for row in rows]


async def counts(database: Database) -> dict[str, int]:
    async with database.transaction() as db:
        row = (await db.execute(select(consumer_offsets))).mappings().one()
        return {name: row[name] for name in ("received", "applied", "duplicates", "parked", "next_offset")}


async def rows(database: Database, table: Table) -> list[Any]:
    async with database.transaction() as db:
        return list(await db.execute(select(table)))
