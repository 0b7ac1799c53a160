"""Reads all databases in two passes, in the one order in which a system at work is never accused falsely.

First pass, every database: what consumers have (progress, inbox, parked messages) and what services state.
Second pass, every database: the outbox, what services state by now, and the services' own checks.
Each pass over a database is one REPEATABLE READ, READ ONLY snapshot.

* `lost` needs progress beyond an event's offset and no receipt for it. A batch writes both in one
  transaction and one snapshot shows both, so an event that has merely just been applied is never called lost.
* An effect is read before the outbox that must explain it: a receipt without a published event is an
  effect of nothing, not an event that was published a moment later.
* Rows deleted between the passes are of events that are left out: the second pass reads up to when they went.
* An event published between the passes counts as on the way, never as missing.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from fanout.databases import snapshot
from fanout.verify import rows
from fanout.verify.checkfile import Query
from fanout.verify.horizon import latest
from fanout.verify.records import Facts, Forwarded, Partition, Published, Reading, Receipts, RefusedRow

Databases = Mapping[str, str]
"""Service -> `postgresql+asyncpg://…`."""


@dataclass(frozen=True, slots=True)
class Early:
    receipts: Sequence[Receipts]
    reached: Mapping[Partition, int]
    facts: Facts


@dataclass(frozen=True, slots=True)
class Late:
    outbox: Sequence[Published]
    forwarded: Sequence[Forwarded]
    unpublished: int
    refused: Sequence[RefusedRow]
    complete_since: datetime | None
    facts: Facts
    offenders: Mapping[str, Sequence[str]]
    waiting: Facts


async def read(databases: Databases, queries: Sequence[Query]) -> Reading:
    early = await asyncio.gather(*(_early(service, url, queries) for service, url in databases.items()))
    late = await asyncio.gather(*(_late(service, url, queries) for service, url in databases.items()))
    return Reading(
        receipts=[consumer for part in early for consumer in part.receipts],
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


async def stated(databases: Databases, queries: Sequence[Query]) -> Facts:
    """What services state just now, without the books."""
    parts = await asyncio.gather(*(_stated(service, url, queries) for service, url in databases.items()))
    return _merged(parts)


async def _stated(service: str, url: str, queries: Sequence[Query]) -> Facts:
    async with snapshot(service, url) as db:
        return await rows.facts(db, _of(service, "fact", queries))


async def _early(service: str, url: str, queries: Sequence[Query]) -> Early:
    async with snapshot(service, url) as db:
        return Early(
            receipts=await rows.receipts(db),
            reached=await rows.reached(db),
            facts=await rows.facts(db, _of(service, "fact", queries)),
        )


async def _late(service: str, url: str, queries: Sequence[Query]) -> Late:
    async with snapshot(service, url) as db:
        return Late(
            outbox=await rows.published(service, db),
            forwarded=await rows.forwarded(db),
            unpublished=await rows.unpublished(db),
            refused=await rows.refused(service, db),
            complete_since=(await rows.cleaned(db, "outbox"))[0],
            facts=await rows.facts(db, _of(service, "fact", queries)),
            offenders={
                f"{service}: {query.title}": await rows.ids(db, query)
                for query in _of(service, "check", queries)
            },
            waiting={
                query.title: Counter(await rows.ids(db, query)) for query in _of(service, "waiting", queries)
            },
        )


def _of(service: str, kind: str, queries: Iterable[Query]) -> list[Query]:
    return [query for query in queries if (query.service, query.kind) == (service, kind)]


def _merged(parts: Iterable[Facts]) -> dict[str, Counter[str]]:
    return {name: orders for facts in parts for name, orders in facts.items()}
