"""What the databases know: who listens to which topic, and what each relay has still to send."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.outbox.table import REFUSED
from fanout.databases import snapshot

_LISTENING = text("SELECT DISTINCT consumer, topic FROM subscriptions")
_UNSENT = text("""
    SELECT count(*), extract(epoch FROM clock_timestamp() - min(created_at))::float
    FROM outbox WHERE published_at IS NULL AND set_aside_at IS NULL
""")
_SET_ASIDE = text(f"SELECT count(*) FROM outbox WHERE {REFUSED}")


@dataclass(frozen=True, slots=True)
class Backlog:
    """Outbox rows that are not yet in Kafka, and the age of the oldest; None if there are none.

    `set_aside` counts rows that cannot be sent.
    """

    service: str
    rows: int
    seconds: float | None
    set_aside: int
    listening: frozenset[tuple[str, str]]
    """(group, topic) of the consumers that keep their books in this service's database."""


async def backlogs(databases: Mapping[str, str]) -> list[Backlog]:
    return await asyncio.gather(*(_backlog(service, url) for service, url in databases.items()))


async def _backlog(service: str, url: str) -> Backlog:
    async with snapshot(service, url) as db:
        rows, seconds = await _unsent(db)
        listening = frozenset((consumer, topic) for consumer, topic in await db.execute(_LISTENING))
        set_aside: int = (await db.execute(_SET_ASIDE)).scalar_one()
        return Backlog(service, rows, seconds, set_aside, listening)


async def _unsent(db: AsyncConnection) -> tuple[int, float | None]:
    rows, seconds = (await db.execute(_UNSENT)).one()
    return rows, seconds
