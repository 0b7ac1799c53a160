"""Selects the outbox rows that are to be sent again, and sums them up; changes nothing.

A row is sent again only if every consumer of its topic still has its receipts of that time, and will have them when it
reads the row: an event whose receipt was deleted after the retention time would be applied a second time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from fanout.databases import Databases, read_each

SENT = "published_at IS NOT NULL AND set_aside_at IS NULL AND discarded_at IS NULL"
"""The condition of a row that the relay has sent. Others are left alone: they wait, or an operator decides."""
OF_TOPIC = "topic = :topic AND published_at >= :since"
BY_ID = "id = ANY (:ids)"


@dataclass(frozen=True, slots=True)
class Group:
    """The selected rows of one type in one outbox; `oldest` and `newest` are when they were sent."""

    service: str
    topic: str
    type: str
    rows: int
    oldest: datetime
    newest: datetime


@dataclass(frozen=True, slots=True)
class Selected:
    """The rows of one service's outbox. `too_old` more were left out, since receipts of them were deleted."""

    service: str
    ids: Sequence[int]
    groups: Sequence[Group]
    too_old: int


@dataclass(frozen=True)
class Selection:
    """What is to be sent again; `what` describes it for the history."""

    what: str
    selected: Sequence[Selected] = field(default_factory=tuple)

    @property
    def rows(self) -> int:
        return sum(len(each.ids) for each in self.selected)

    @property
    def too_old(self) -> int:
        return sum(each.too_old for each in self.selected)

    @property
    def groups(self) -> Iterator[Group]:
        return (group for each in self.selected for group in each.groups)


async def of_topic(
    outboxes: Databases, databases: Databases, topic: str, since: datetime, what: str
) -> Selection:
    """Selects the rows of a topic that were sent since then. `databases` are those of all consumers."""
    return await _select(
        outboxes, databases, what, {name: (OF_TOPIC, {"topic": topic, "since": since}) for name in outboxes}
    )


async def of_ids(
    outboxes: Databases, databases: Databases, ids: Mapping[str, Sequence[int]], what: str
) -> Selection:
    """Selects the rows with these ids, by service."""
    wanted = {name: (BY_ID, {"ids": list(ids[name])}) for name in outboxes if ids.get(name)}
    return await _select(outboxes, databases, what, wanted)


async def _select(
    outboxes: Databases, databases: Databases, what: str, wanted: Mapping[str, tuple[str, dict[str, Any]]]
) -> Selection:
    receipts = await receipts_since(databases)

    async def select(service: str, db: AsyncConnection) -> Selected:
        condition, values = wanted[service]
        covered = _covered(receipts)
        values = values | {f"before_{number}": at for number, at in enumerate(receipts.values())}
        values |= {f"topic_{number}": topic for number, topic in enumerate(receipts)}
        found = f"FROM outbox WHERE {SENT} AND {condition}"
        groups = await db.execute(text(_GROUPS.format(rows=f"{found} AND {covered}")), values)
        ids = await db.execute(text(f"SELECT id {found} AND {covered} ORDER BY id"), values)
        too_old = await db.scalar(text(f"SELECT count(*) {found} AND NOT ({covered})"), values)
        return Selected(service, list(ids.scalars()), [Group(service, *row) for row in groups], too_old or 0)

    return Selection(what, await read_each({name: outboxes[name] for name in wanted}, select))


async def receipts_since(databases: Databases) -> dict[str, datetime]:
    """Returns, by topic of events, since when all its consumers will have all their receipts for another day."""

    async def of_one(_: str, db: AsyncConnection) -> list[tuple[str, datetime]]:
        return [(row.topic, row.before) for row in await db.execute(_RECEIPTS)]

    newest: dict[str, datetime] = {}
    for found in await read_each(databases, of_one):
        for topic, before in found:
            newest[topic] = max(before, newest.get(topic, before))
    return newest


def _covered(receipts: Mapping[str, datetime]) -> str:
    """Returns the condition of a row whose receipts are all kept; those of what was parked outlive its outbox row."""
    too_old = " OR ".join(
        f"(topic = :topic_{number} AND created_at < :before_{number})" for number in range(len(receipts))
    )
    return f"NOT ({too_old})" if too_old else "true"


_GROUPS = """
    SELECT topic, coalesce(type, 'a message unchanged') AS type, count(*), min(published_at), max(published_at) {rows}
    GROUP BY 1, 2 ORDER BY 1, 2
"""
# Receipts are kept for nine days at least; a worker that was stopped purges before it reads.
_RECEIPTS = text("""
    SELECT DISTINCT topic, greatest(before, clock_timestamp() - interval '8 days') AS before
    FROM subscriptions LEFT JOIN purges ON what = 'inbox'
""")
