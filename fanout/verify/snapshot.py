"""Reads all databases in two passes, in the order in which a running system is never accused wrongly.

First pass, every database: what consumers have (offsets, inbox, parked messages) and the facts of the services.
Second pass, every database: the outbox, the facts by now, and the services' own checks.
Each pass over a database is one REPEATABLE READ, READ ONLY snapshot.

* `lost` needs an offset beyond the event and no receipt for it. A batch writes both in one transaction and one
  snapshot shows both, so an event that has just been applied is never called lost.
* An effect is read before the outbox that must explain it: a receipt without a published event is an orphaned
  effect, not an event that was published a moment later.
* Rows purged between the passes belong to events that are left out: the second pass reads the retention cutoff.
* An event published between the passes counts as in flight, never as missing.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.outbox.table import load_headers
from fanout.databases import Databases, held_in, read_each
from fanout.verify.invariants import Query
from fanout.verify.records import (
    ConsumerState,
    Facts,
    Forwarded,
    Ignored,
    ParkedMessage,
    Partition,
    Published,
    Reading,
    RefusedRow,
    Subscription,
    latest,
)

AnyRow = Row[*tuple[Any, ...]]


async def read(databases: Databases, queries: Sequence[Query]) -> Reading:
    reading = Reading()

    async def first_pass(service: str, db: AsyncConnection) -> None:
        reading.consumers += await _consumers(db)
        reading.reached |= {Partition(row[0], row[1]): row[2] async for row in _rows(db, _REACHED)}
        reading.early |= await _facts(db, service, queries)

    async def second_pass(service: str, db: AsyncConnection) -> None:
        reading.outbox += [Published(row[0], service, *row[1:]) async for row in _rows(db, _OUTBOX)]
        reading.forwarded += [
            Forwarded(row[0], row[1], row[2], _event_id(row[3])) async for row in _rows(db, _FORWARDED)
        ]
        reading.held += await held_in(db)
        reading.unpublished[service] = sum([row[0] async for row in _rows(db, _UNPUBLISHED)])
        reading.refused += [RefusedRow(service, *row) async for row in _rows(db, _REFUSED)]
        complete_since, _ = await _purged(db, "outbox")
        reading.complete_since = latest((reading.complete_since, complete_since))
        reading.late |= await _facts(db, service, queries)
        for query in _of(service, "check", queries):
            reading.offenders[f"{service}: {query.title}"] = await _ids(db, query)
        for query in _of(service, "waiting", queries):
            reading.waiting[query.title] = Counter(await _ids(db, query))

    await read_each(databases, first_pass)
    await read_each(databases, second_pass)
    reading.consumers.sort(key=lambda state: state.consumer)
    reading.held.sort()
    reading.refused.sort(key=lambda row: (row.service, row.id))
    reading.unpublished = dict(sorted(reading.unpublished.items()))
    reading.offenders = dict(sorted(reading.offenders.items()))
    return reading


async def read_facts(databases: Databases, queries: Sequence[Query]) -> Facts:
    """Returns the facts as they are just now, without the state of consumers."""
    found: dict[str, Counter[str]] = {}

    async def read_one(service: str, db: AsyncConnection) -> None:
        found.update(await _facts(db, service, queries))

    await read_each(databases, read_one)
    return found


async def _consumers(db: AsyncConnection) -> list[ConsumerState]:
    """Returns the state of every consumer whose inbox is in this database."""
    subscriptions = await _by_consumer(db, _SUBSCRIPTIONS)
    offsets = await _by_consumer(db, _OFFSETS)
    parked = await _by_consumer(db, _PARKED)
    ignored = await _by_consumer(db, _IGNORED)
    complete_since, purged = await _purged(db, "inbox")
    return [
        ConsumerState(
            consumer=consumer,
            subscriptions={Subscription(*row[1:]) for row in subscriptions[consumer]},
            next_offsets={Partition(row[1], row[2]): row[3] for row in offsets.get(consumer, ())},
            applications=sum(row[4] for row in offsets.get(consumer, ())),
            duplicates=sum(row[5] for row in offsets.get(consumer, ())),
            applied=await _received(db, consumer, "applied"),
            parked=await _received(db, consumer, "parked"),
            parked_messages=[
                ParkedMessage(row[1], (row[2] or b"").decode(errors="replace"))
                for row in parked.get(consumer, ())
            ],
            purged=purged,
            complete_since=complete_since,
            ignored=[Ignored(*row[1:]) for row in ignored.get(consumer, ())],
        )
        for consumer in sorted(subscriptions)
    ]


async def _received(db: AsyncConnection, consumer: str, status: str) -> set[UUID]:
    received: set[UUID] = set()
    where = {"consumer": consumer, "status": status}
    async with db.stream(_INBOX, where, execution_options=_CHUNKS) as result:
        async for chunk in result.scalars().partitions():
            received.update(chunk)
    return received


async def _purged(db: AsyncConnection, table: str) -> tuple[datetime | None, int]:
    """Returns since when the table is complete, and how many rows were deleted from it."""
    purges = {row[0]: (row[1], row[2]) async for row in _rows(db, _PURGES)}
    return purges.get(table, (None, 0))


def _event_id(headers: str | None) -> UUID | None:
    event_id = dict(load_headers(headers or "[]")).get("ce_id") or b""
    try:
        return UUID(event_id.decode("ascii", "replace"))
    except ValueError:
        return None


async def _facts(db: AsyncConnection, service: str, queries: Iterable[Query]) -> dict[str, Counter[str]]:
    return {query.name: Counter(await _ids(db, query)) for query in _of(service, "fact", queries)}


async def _ids(db: AsyncConnection, query: Query) -> list[str]:
    """Returns the first column of each row, in the query's order."""
    return [str(row[0]) async for row in _rows(db, query.sql)]


async def _by_consumer(db: AsyncConnection, sql: str) -> dict[str, list[AnyRow]]:
    groups: dict[str, list[AnyRow]] = {}
    async for row in _rows(db, sql):
        groups.setdefault(row[0], []).append(row)
    return groups


async def _rows(db: AsyncConnection, sql: str) -> AsyncIterator[AnyRow]:
    """Streams rows, so that those of a long outbox are never all in memory."""
    literal = text(sql.replace(":", r"\:"))
    async with db.stream(literal, execution_options=_CHUNKS) as result:
        async for chunk in result.partitions():
            for row in chunk:
                yield row


def _of(service: str, kind: str, queries: Iterable[Query]) -> list[Query]:
    return [query for query in queries if (query.service, query.kind) == (service, kind)]


_CHUNKS = {"yield_per": 5_000}
_OUTBOX = """
    SELECT event_id, topic, type, aggregate_id, kafka_partition, kafka_offset, id
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
_OFFSETS = "SELECT consumer, topic, partition, next_offset, applied, duplicates FROM consumer_offsets"
_INBOX = text("SELECT event_id FROM inbox WHERE consumer = :consumer AND status = :status")
_PARKED = "SELECT consumer, event_id, key FROM parked"
_IGNORED = """
    SELECT consumer, topic, partition, type, first_offset, last_offset, events FROM ignored_events
    ORDER BY topic, partition, type
"""
_PURGES = "SELECT what, before, purged FROM purges"
