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

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.outbox.table import load_headers
from fanout.databases import snapshot
from fanout.verify.invariants import Query
from fanout.verify.records import (
    ConsumerState,
    Facts,
    Forwarded,
    ParkedMessage,
    Partition,
    Published,
    Reading,
    RefusedRow,
    Subscription,
    latest,
)

Databases = Mapping[str, str]
"""Service -> `postgresql+asyncpg://…`."""
AnyRow = Row[*tuple[Any, ...]]


async def read(databases: Databases, queries: Sequence[Query]) -> Reading:
    early = await asyncio.gather(*(_early(service, url, queries) for service, url in databases.items()))
    late = await asyncio.gather(*(_late(service, url, queries) for service, url in databases.items()))
    return Reading(
        consumers=[consumer for part in early for consumer in part.consumers],
        outbox=[event for part in late for event in part.outbox],
        unpublished={service: part.unpublished for service, part in zip(databases, late, strict=True)},
        refused=[row for part in late for row in part.refused],
        early=_merged(part.facts for part in early),
        late=_merged(part.facts for part in late),
        offenders={sentence: ids for part in late for sentence, ids in part.offenders.items()},
        forwarded=[message for part in late for message in part.forwarded],
        reached={place: offset for part in early for place, offset in part.reached.items()},
        complete_since=latest(part.complete_since for part in late),
        waiting=_merged(part.waiting for part in late),
    )


async def read_facts(databases: Databases, queries: Sequence[Query]) -> Facts:
    """Returns the facts as they are just now, without the state of consumers."""

    async def of(service: str, url: str) -> Facts:
        async with snapshot(service, url) as db:
            return await _facts(db, service, queries)

    return _merged(await asyncio.gather(*(of(*each) for each in databases.items())))


@dataclass(frozen=True, slots=True)
class _Early:
    consumers: Sequence[ConsumerState]
    reached: Mapping[Partition, int]
    facts: Facts


async def _early(service: str, url: str, queries: Sequence[Query]) -> _Early:
    async with snapshot(service, url) as db:
        return _Early(
            consumers=await _consumers(db),
            reached={Partition(row[0], row[1]): row[2] async for row in _rows(db, _REACHED)},
            facts=await _facts(db, service, queries),
        )


@dataclass(frozen=True, slots=True)
class _Late:
    outbox: Sequence[Published]
    forwarded: Sequence[Forwarded]
    unpublished: int
    refused: Sequence[RefusedRow]
    complete_since: datetime | None
    facts: Facts
    offenders: Mapping[str, Sequence[str]]
    waiting: Facts


async def _late(service: str, url: str, queries: Sequence[Query]) -> _Late:
    checks, waiting = _of(service, "check", queries), _of(service, "waiting", queries)
    async with snapshot(service, url) as db:
        return _Late(
            outbox=[Published(row[0], service, *row[1:]) async for row in _rows(db, _OUTBOX)],
            forwarded=[
                Forwarded(row[0], row[1], row[2], _event_id(row[3])) async for row in _rows(db, _FORWARDED)
            ],
            unpublished=sum([row[0] async for row in _rows(db, _UNPUBLISHED)]),
            refused=[RefusedRow(service, *row) async for row in _rows(db, _REFUSED)],
            complete_since=(await _purged(db, "outbox"))[0],
            facts=await _facts(db, service, queries),
            offenders={f"{service}: {query.title}": await _ids(db, query) for query in checks},
            waiting={query.title: Counter(await _ids(db, query)) for query in waiting},
        )


async def _consumers(db: AsyncConnection) -> list[ConsumerState]:
    """Returns the state of every consumer whose inbox is in this database."""
    subscriptions = await _by_consumer(db, _SUBSCRIPTIONS)
    offsets = await _by_consumer(db, _OFFSETS)
    parked = await _by_consumer(db, _PARKED)
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
                ParkedMessage(row[1], row[2], row[3], row[4], (row[5] or b"").decode(errors="replace"))
                for row in parked.get(consumer, ())
            ],
            purged=purged,
            complete_since=complete_since,
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


async def _facts(db: AsyncConnection, service: str, queries: Iterable[Query]) -> Facts:
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


def _merged(parts: Iterable[Facts]) -> dict[str, Counter[str]]:
    return {name: orders for facts in parts for name, orders in facts.items()}


_CHUNKS = {"yield_per": 5_000}
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
_OFFSETS = "SELECT consumer, topic, partition, next_offset, applied, duplicates FROM consumer_offsets"
_INBOX = text("SELECT event_id FROM inbox WHERE consumer = :consumer AND status = :status")
_PARKED = "SELECT consumer, event_id, topic, partition, kafka_offset, key FROM parked"
_PURGES = "SELECT what, before, purged FROM purges"
