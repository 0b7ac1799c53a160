"""Marks selected outbox rows as unsent, in the order of their ids, and keeps who had that done and why.

The relay sends them again in that order. Each chunk is a transaction of its own with its part of the history, so what
an interrupted command did is known, and asking again goes on with the rest.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from fanout.databases import Databases, read_each, session
from fanout.resend.selection import SENT, Selected, Selection

ROWS_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class Reason:
    who: str
    why: str


async def send_again(
    outboxes: Databases,
    selection: Selection,
    reason: Reason,
    progress: Callable[[int], None] = lambda done: None,
) -> int:
    """Returns how many rows the relays send again; fewer than selected if others changed some meanwhile."""
    done = 0
    for each in selection.selected:
        if each.ids:
            async with session(each.service, outboxes[each.service]) as db:
                done = await _mark(db, each, selection.what, reason, done, progress)
    return done


async def _mark(
    db: AsyncConnection,
    selected: Selected,
    what: str,
    reason: Reason,
    done: int,
    progress: Callable[[int], None],
) -> int:
    entry: int | None = None
    for start in range(0, len(selected.ids), ROWS_AT_ONCE):
        async with db.begin():
            ids = list(selected.ids[start : start + ROWS_AT_ONCE])
            marked = (await db.execute(_UNSENT, {"ids": ids})).rowcount
            if entry is None:
                values = {"who": reason.who, "why": reason.why, "what": what, "rows": marked}
                entry = await db.scalar(_BEGIN, values)
            else:
                await db.execute(_ADD, {"entry": entry, "rows": marked})
        done += marked
        progress(done)
    return done


@dataclass(frozen=True, slots=True)
class Resend:
    """An entry of the history."""

    service: str
    at: datetime
    who: str
    why: str
    what: str
    rows: int


async def history(databases: Databases) -> list[Resend]:
    """Returns what was sent again so far, newest first."""

    async def of_one(service: str, db: AsyncConnection) -> list[Resend]:
        rows: Any = await db.execute(_HISTORY)
        return [Resend(service, *row) for row in rows]

    found = [each for entries in await read_each(databases, of_one) for each in entries]
    return sorted(found, key=lambda entry: entry.at, reverse=True)


_UNSENT = text(f"""
    UPDATE outbox SET published_at = NULL, kafka_partition = NULL, kafka_offset = NULL, topic_id = NULL
    WHERE id = ANY (:ids) AND {SENT}
""")
_BEGIN = text("INSERT INTO resends (who, why, what, rows) VALUES (:who, :why, :what, :rows) RETURNING id")
_ADD = text("UPDATE resends SET rows = rows + :rows WHERE id = :entry")
_HISTORY = text("SELECT at, who, why, what, rows FROM resends ORDER BY id DESC")
