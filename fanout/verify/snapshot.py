"""Opens two snapshots of every database, in the order in which a running system is never accused wrongly.

First pass, every database: what consumers have (offsets, receipts, parked messages) and the causes of the rules.
Second pass, every database: the outbox, the effects of the rules, and the services' own checks.
Each is one REPEATABLE READ, READ ONLY snapshot. All of the first pass are taken before the first of the second, and all
stay open until the comparison ends, so it does not matter when or how often something is read from them.

* `lost` needs an offset beyond the event and no receipt for it. A batch writes both in one transaction and one
  snapshot shows both, so an event that has just been applied is never called lost.
* An effect is read before the outbox that must explain it: a receipt without a published event is an orphaned
  effect, not an event that was published a made later.
* Sums of receipts are compared with sums of the outbox. What was published between the passes makes them differ, and
  then the events are looked at one by one: it is in flight, never missing.
* Rows purged between the passes belong to events that are left out: the second pass reads the retention cutoff.
* A row that is sent again gets another offset: between the passes it moves forward, so it is in flight or received.
* A dead letter is read before the parked message that must explain it; one that is sent and not stored counts as in
  flight until the reader's offset, read with the stored ones, lies beyond it.
"""

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import driver
from fanout.databases import Databases, errors_of, read_each, snapshot
from fanout.verify.invariants import Query
from fanout.verify.records import Facts

MEMORY = "SET LOCAL work_mem = '32MB'"
"""Of each sort in Postgres; what is larger goes to a temporary file."""
AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One service's database at one point in time. Its methods raise Unreachable or FanoutError, which name it."""

    service: str
    url: str
    db: AsyncConnection

    async def fetch(self, sql: str, *values: object) -> list[asyncpg.Record]:
        with errors_of(self.service, self.url):
            rows: list[asyncpg.Record] = await driver(self.db).fetch(sql, *values)
            return rows

    async def value(self, sql: str, *values: object) -> Any:
        return (await self.fetch(sql, *values))[0][0]

    async def stream(self, sql: str, *values: object) -> AsyncIterator[asyncpg.Record]:
        """Yields rows without ever holding all of them."""
        with errors_of(self.service, self.url):
            async for row in driver(self.db).cursor(sql, *values, prefetch=AT_ONCE):
                yield row

    async def ids(self, query: Query) -> list[str]:
        """Returns the first column of each row, in the query's order."""
        return [str(row[0]) for row in await self.fetch(query.sql)]


Pass = Mapping[str, Snapshot]
"""Service -> the snapshot of its database."""


@dataclass(frozen=True, slots=True)
class Passes:
    """The open snapshots; `read_at` is when the first pass was taken, by each database's clock."""

    first: Pass
    second: Pass
    read_at: Mapping[str, datetime]


@asynccontextmanager
async def passes(databases: Databases) -> AsyncIterator[Passes]:
    """Raises Unreachable if a database is down, or FanoutError for another error of it."""
    async with AsyncExitStack() as stack:
        first = await _open(databases, stack)
        read_at = {service: await _take(snapshot) for service, snapshot in first.items()}
        second = await _open(databases, stack)
        for snapshot in second.values():
            await _take(snapshot)
        yield Passes(first, second, read_at)


async def _open(databases: Databases, stack: AsyncExitStack) -> dict[str, Snapshot]:
    return {
        service: Snapshot(service, url, await stack.enter_async_context(snapshot(service, url)))
        for service, url in databases.items()
    }


async def _take(taken: Snapshot) -> datetime:
    """Takes the snapshot, which Postgres does at the first query of a transaction."""
    await taken.db.execute(text(MEMORY))
    at: datetime = await taken.value("SELECT clock_timestamp()")
    return at


async def read_facts(databases: Databases, queries: Sequence[Query]) -> Facts:
    """Returns the facts as they are just now, without the state of consumers."""
    found: dict[str, Counter[str]] = {}

    async def read_one(service: str, db: AsyncConnection) -> None:
        for query in queries:
            if (query.service, query.kind) == (service, "fact"):
                found[query.name] = Counter(
                    [str(row[0]) for row in await db.execute(text(query.sql.replace(":", r"\:")))]
                )

    await read_each(databases, read_one)
    return found
