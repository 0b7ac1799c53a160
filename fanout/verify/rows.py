"""The SQL of the ledger, and the records made of its rows."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.outbox.table import load_headers
from fanout.verify.checkfile import Query
from fanout.verify.records import (
    Facts,
    Forwarded,
    ParkedMessage,
    Partition,
    Published,
    Receipts,
    RefusedRow,
    Subscription,
)

AnyRow = Row[*tuple[Any, ...]]

_CHUNKS = {"yield_per": 5_000}
"""So that the rows of a long outbox are never all in memory."""

_OUTBOX = """
    SELECT event_id, topic, type, aggregate_id, kafka_partition, kafka_offset
    FROM outbox WHERE aggregate_id IS NOT NULL AND discarded_at IS NULL
"""
_UNPUBLISHED = "SELECT count(*) FROM outbox WHERE published_at IS NULL AND discarded_at IS NULL"
_REFUSED = """
    SELECT id, topic, type, aggregate_id, concat_ws(': ', error_type, error_message), discarded_at IS NOT NULL
    FROM outbox WHERE set_aside_at IS NOT NULL ORDER BY id
"""
_FORWARDED = """
    SELECT topic, kafka_partition, kafka_offset, CASE WHEN topic LIKE '%.retry' THEN headers END
    FROM outbox WHERE aggregate_id IS NULL AND kafka_offset IS NOT NULL
"""
_REACHED = "SELECT topic, partition, next_offset FROM consumer_offsets WHERE topic LIKE '%.dlq' OR topic LIKE '%.retry'"
_SUBSCRIPTIONS = "SELECT consumer, topic, type FROM subscriptions"
_PROGRESS = "SELECT consumer, topic, partition, next_offset, applied, duplicates FROM consumer_offsets"
_INBOX = text("SELECT event_id FROM inbox WHERE consumer = :consumer AND status = :status")
_PARKED = "SELECT consumer, event_id, topic, partition, kafka_offset, key FROM parked"
_CLEANUPS = "SELECT what, before, forgotten FROM purges"


async def published(service: str, db: AsyncConnection) -> list[Published]:
    return [Published(row[0], service, *row[1:]) async for row in _rows(db, _OUTBOX)]


async def unpublished(db: AsyncConnection) -> int:
    """Outbox rows, dead letters too, of which the relay has no delivery report, and which nobody discarded."""
    return sum([row[0] async for row in _rows(db, _UNPUBLISHED)])


async def refused(service: str, db: AsyncConnection) -> list[RefusedRow]:
    """Rows that cannot be sent, also those that were discarded."""
    return [RefusedRow(service, *row) async for row in _rows(db, _REFUSED)]


async def forwarded(db: AsyncConnection) -> list[Forwarded]:
    return [Forwarded(row[0], row[1], row[2], _event_id(row[3])) async for row in _rows(db, _FORWARDED)]


def _event_id(headers: str | None) -> UUID | None:
    stated = dict(load_headers(headers or "[]")).get("ce_id") or b""
    try:
        return UUID(stated.decode("ascii", "replace"))
    except ValueError:
        return None


async def reached(db: AsyncConnection) -> dict[Partition, int]:
    return {Partition(row[0], row[1]): row[2] async for row in _rows(db, _REACHED)}


async def receipts(db: AsyncConnection) -> list[Receipts]:
    """Of every consumer that keeps its books in this database."""
    subscriptions = await _grouped(db, _SUBSCRIPTIONS)
    progress = await _grouped(db, _PROGRESS)
    parked = await _grouped(db, _PARKED)
    complete_since, forgotten = await cleaned(db, "inbox")
    return [
        Receipts(
            consumer=consumer,
            subscriptions={Subscription(*row[1:]) for row in subscriptions[consumer]},
            next_offsets={Partition(row[1], row[2]): row[3] for row in progress.get(consumer, ())},
            applications=sum(row[4] for row in progress.get(consumer, ())),
            duplicates=sum(row[5] for row in progress.get(consumer, ())),
            applied=await _received(db, consumer, "applied"),
            parked=await _received(db, consumer, "parked"),
            parked_messages=[_parked_message(row) for row in parked.get(consumer, ())],
            forgotten=forgotten,
            complete_since=complete_since,
        )
        for consumer in sorted(subscriptions)
    ]


async def cleaned(db: AsyncConnection, table: str) -> tuple[datetime | None, int]:
    """Since when the table is complete, and how many rows were deleted."""
    rows = await _grouped(db, _CLEANUPS)
    return (rows[table][0][1], rows[table][0][2]) if table in rows else (None, 0)


def _parked_message(row: AnyRow) -> ParkedMessage:
    _, event_id, topic, partition, offset, key = row
    return ParkedMessage(event_id, topic, partition, offset, (key or b"").decode(errors="replace"))


async def _received(db: AsyncConnection, consumer: str, status: str) -> set[UUID]:
    received: set[UUID] = set()
    where = {"consumer": consumer, "status": status}
    async with db.stream(_INBOX, where, execution_options=_CHUNKS) as result:
        async for chunk in result.scalars().partitions():
            received.update(chunk)
    return received


async def facts(db: AsyncConnection, queries: Iterable[Query]) -> Facts:
    return {query.name: Counter(await ids(db, query)) for query in queries}


async def ids(db: AsyncConnection, query: Query) -> list[str]:
    """The first column of each row, in the query's order."""
    return [str(row[0]) async for row in _rows(db, query.sql)]


async def _grouped(db: AsyncConnection, sql: str) -> dict[str, list[AnyRow]]:
    """By the first column, the consumer."""
    groups: dict[str, list[AnyRow]] = {}
    async for row in _rows(db, sql):
        groups.setdefault(row[0], []).append(row)
    return groups


async def _rows(db: AsyncConnection, sql: str) -> AsyncIterator[AnyRow]:
    literal = text(sql.replace(":", r"\:"))
    async with db.stream(literal, execution_options=_CHUNKS) as result:
        async for chunk in result.partitions():
            for row in chunk:
                yield row
