"""Letters are sent back and discarded under their row locks, and a row says who did it and why."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.dead_letters.redrive import Redrive, redrive_dead_letters
from chassis.events.dead_letter import Origin
from chassis.events.dead_letter_size import VALUE_OMITTED, is_incomplete
from chassis.outbox.table import load_headers
from schemas import Event
from services.dead_letters.domain import REDRIVES, Deed, Refused, Standing, bury, discard, redrive
from services.dead_letters.search import TOPICS, Filter, matching
from services.dead_letters.service import standing
from services.dead_letters.tables import actions, letters

AT_ONCE = 100
"""Letters in one transaction; each can be a mebibyte."""

Rows = Sequence[Row[Any]]


class NobodyReads(Exception):
    """The letter lies in a topic for dead letters, but no consumer parked it: there is no way back."""


@dataclass(frozen=True)
class Span:
    """The letters behind one, and how many of them at most."""

    after: int
    limit: int


@dataclass(frozen=True)
class Reason:
    """Who does something, and why."""

    who: str
    why: str


Act = Callable[[Filter, Span, Reason, AsyncConnection], Awaitable[list[int]]]
"""Does something with the first letters of a span that are parked and match; returns their ids."""


async def lock(letter_id: int, db: AsyncConnection) -> Row[Any] | None:
    found = await db.execute(select(letters).where(letters.c.letter_id == letter_id).with_for_update())
    return found.one_or_none()


async def redrive_one(
    letter: Row[Any], reason: Reason, correction: Event | None, db: AsyncConnection
) -> None:
    """Raises Refused or NobodyReads. The correction, if there is one, goes in the place of the letter's value."""
    if letter.topic not in TOPICS:
        raise NobodyReads
    if correction is None and is_incomplete(load_headers(letter.headers)):
        raise Refused(
            "its value was too large for a dead letter and was left out; it is in the table parked of "
            f"{letter.consumer}'s database: send a correction, or discard it"
        )
    after = redrive(standing(letter))
    await redrive_dead_letters(db, [returned(letter, after, correction)])
    await note(db, "redriven", [(letter, after)], reason, correction)


async def discard_one(letter: Row[Any], reason: Reason, db: AsyncConnection) -> None:
    """Raises Refused."""
    after = discard(standing(letter))
    if after != standing(letter):
        await note(db, "discarded", [(letter, after)], reason)


async def redrive_page(asked: Filter, span: Span, reason: Reason, db: AsyncConnection) -> list[int]:
    """Leaves out letters that have no way back: see `redrive_one`."""
    is_whole = ~letters.c.headers.contains(f'"{VALUE_OMITTED}"')
    has_way_back = letters.c.topic.in_(TOPICS), letters.c.redrive < REDRIVES, is_whole
    wanted = matching(select(letters), asked).where(*has_way_back)
    rows = await next_parked(wanted, span, db)
    changed = [(row, redrive(standing(row))) for row in rows]
    await redrive_dead_letters(db, [returned(row, standing) for row, standing in changed])
    await note(db, "redriven", changed, reason)
    return [row.letter_id for row in rows]


async def discard_page(asked: Filter, span: Span, reason: Reason, db: AsyncConnection) -> list[int]:
    wanted = matching(select(letters.c.letter_id, letters.c.status, letters.c.redrive), asked)
    rows = await next_parked(wanted, span, db)
    await note(db, "discarded", [(row, discard(standing(row))) for row in rows], reason)
    return [row.letter_id for row in rows]


async def bury_page(asked: Filter, span: Span, reason: Reason, db: AsyncConnection) -> list[int]:
    """Also what was sent back: once more, it would wait for ever for a topic that is gone."""
    wanted = matching(select(letters.c.letter_id, letters.c.status, letters.c.redrive), asked)
    rows = await next_ones(wanted.where(letters.c.status != "discarded"), span, db)
    await note(db, "discarded", [(row, bury(standing(row))) for row in rows], reason)
    return [row.letter_id for row in rows]


async def next_parked(wanted: Select[Any], span: Span, db: AsyncConnection) -> Rows:
    return await next_ones(wanted.where(letters.c.status == "parked"), span, db)


async def next_ones(wanted: Select[Any], span: Span, db: AsyncConnection) -> Rows:
    """Locked in the order of their ids. Those that somebody else is acting on are waited for, and left out then;

    so letters go to the relay in the order of their ids also when several send back many.
    """
    behind = wanted.where(letters.c.letter_id > span.after)
    rows = await db.execute(behind.order_by(letters.c.letter_id).limit(span.limit).with_for_update())
    return list(rows)


def returned(letter: Row[Any], after: Standing, correction: Event | None = None) -> Redrive:
    origin = Origin(
        topic=letter.topic,
        partition=letter.partition,
        kafka_offset=letter.kafka_offset,
        record_at=letter.record_at,
        attempts=letter.attempts,
        first_failed_at=letter.first_failed_at,
        redrive=after.redrive,
    )
    headers = load_headers(letter.headers)
    return Redrive(letter.consumer, origin, letter.key, letter.value, headers, correction)


async def note(
    db: AsyncConnection,
    what: Deed,
    changed: Sequence[tuple[Row[Any], Standing]],
    reason: Reason,
    correction: Event | None = None,
) -> None:
    if not changed:
        return
    done = {"what": what, "who": reason.who, "why": reason.why}
    corrected = {"correction": correction and json.dumps(correction.to_record())}
    audit = [
        done | corrected | {"letter_id": row.letter_id, "redrive": after.redrive} for row, after in changed
    ]
    await db.execute(insert(actions), audit)
    ids = [{"id": row.letter_id, "status": after.status, "redrive": after.redrive} for row, after in changed]
    await db.execute(update(letters).where(letters.c.letter_id == bindparam("id")), ids)
