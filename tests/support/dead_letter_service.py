"""Dead letters as consumers park them, and the service that stores them, without Kafka in between."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from sqlalchemy import Row, Table, select

from chassis.database import Database
from chassis.dead_letters.reader import DeadLetterConsumer
from chassis.events.avro import WriterSchemas
from chassis.events.dead_letter import DLQ_HEADERS, REDRIVE_HEADERS, Origin, split_headers, to_headers
from chassis.events.record import Record
from chassis.outbox.table import load_headers, outbox
from services.dead_letters import service
from services.dead_letters.api import app
from tests.support.principals import OPERATOR, client_of
from tests.support.recording_service import Schemas, confirmed

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
WHY = {"why": "the bug is fixed"}


def parked(original: Record, offset: int = 0, consumer: str = "fraud", **added: Any) -> Record:
    """Returns the dead letter that a consumer writes when it parks `original`."""
    values = {
        "topic": original.topic,
        "partition": original.partition,
        "kafka_offset": original.offset,
        "record_at": original.at,
        "attempts": 1,
        "first_failed_at": NOON,
        "redrive": 0,
        "consumer": consumer,
        "failure": "permanent",
        "error_type": "Contradiction",
        "error_message": "it cannot be",
        "last_failed_at": NOON,
    }
    headers = [*original.headers, *to_headers(DLQ_HEADERS, values | added)]
    return replace(
        original, topic=f"{original.topic}.{consumer}.dlq", partition=0, offset=offset, headers=headers
    )


def many(count: int, consumer: str = "fraud") -> list[Record]:
    return [
        parked(confirmed(f"order-{n}", n), n, consumer, last_failed_at=NOON + timedelta(minutes=n))
        for n in range(count)
    ]


async def store(database: Database, *records: Record, schemas: WriterSchemas | None = None) -> None:
    processor = DeadLetterConsumer("dead_letters", service.store, database, schemas or Schemas())
    await processor.process(records, asyncio.Event())


def failed_again(original: Record, redrive: int, **added: Any) -> Record:
    """Returns the dead letter of a record that failed again after its redrive."""
    return parked(original, 100 + redrive, redrive=redrive, attempts=1 + redrive, **added)


@asynccontextmanager
async def served(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    """Serves an operator."""
    app.state.database = database
    async with client_of(app, OPERATOR) as client:
        yield client


async def stored(database: Database, table: Table) -> list[Row[Any]]:
    async with database.transaction() as db:
        return list(await db.execute(select(table).order_by(next(iter(table.primary_key)))))


async def redriven_messages(database: Database) -> list[tuple[Row[Any], dict[str, bytes | None], Origin]]:
    """Returns the redriven messages in the order of the outbox: row, headers of the record, and redrive headers."""
    found = []
    for row in await stored(database, outbox):
        own, added = split_headers(load_headers(row.headers), REDRIVE_HEADERS)
        found.append((row, dict(own), Origin.read(added)))
    return found
