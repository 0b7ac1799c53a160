"""Redrives and discards dead letters, each under its row lock, and records who did it and why."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from sqlalchemy import Row, Select, bindparam, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.dead_letters.redrive import Redrive, redrive_dead_letters
from chassis.events.dead_letter import Origin
from chassis.events.dead_letter_size import VALUE_OMITTED, is_incomplete
from chassis.outbox.table import load_headers
from schemas import Event
from services.dead_letters import domain
from services.dead_letters.domain import MOST_REDRIVES, Action, Refused, State
from services.dead_letters.search import TOPICS, Filter, matching
from services.dead_letters.service import state
from services.dead_letters.tables import actions, dead_letters

PAGE_SIZE = 500
"""Dead letters per transaction, at most."""
PAGE_BYTES = 4 * 2**20
"""Fewer are redriven in one, if they are large: a transaction reads no more than this, and one dead letter at least."""

STATES: Select[Any] = select(dead_letters.c.dead_letter_id, dead_letters.c.status, dead_letters.c.redrive)
SIZES = STATES.add_columns(
    func.octet_length(func.coalesce(dead_letters.c.value, b"")).label("value_bytes"),
    func.octet_length(dead_letters.c.headers).label("header_bytes"),
)
REDRIVEN_COLUMNS = [
    column for column in dead_letters.c if column.name not in ("event", "decode_error", "error_message")
]

Rows = Sequence[Row[Any]]


class NoConsumer(Exception):
    """The dead letter is from a topic of dead letters, but no consumer of ours parked it: it cannot be redriven."""


@dataclass(frozen=True)
class Span:
    """The dead letters with ids above `after`, at most `limit` of them."""

    after: int
    limit: int


@dataclass(frozen=True)
class Reason:
    """Who acts on a dead letter, and why."""

    who: str
    why: str


ActOnPage = Callable[[AsyncConnection, Filter, Span, Reason], Awaitable[list[int]]]
"""Acts on the first dead letters of a span that match and whose state allows it; returns their ids."""


async def lock(db: AsyncConnection, dead_letter_id: int) -> Row[Any] | None:
    by_id = dead_letters.c.dead_letter_id == dead_letter_id
    return (await db.execute(select(dead_letters).where(by_id).with_for_update())).one_or_none()


async def corrections(db: AsyncConnection, dead_letter_id: int) -> list[dict[str, Any]]:
    """Returns the corrections that were sent in the place of a dead letter."""
    row = actions.c
    of_this = select(row.correction).where(row.dead_letter_id == dead_letter_id, row.correction.is_not(None))
    return [json.loads(correction) for correction in (await db.execute(of_this)).scalars()]


async def redrive_one(
    db: AsyncConnection, dead_letter: Row[Any], reason: Reason, correction: Event | None
) -> None:
    """Redrives a locked dead letter, with `correction` in the place of its value. Raises Refused or NoConsumer."""
    if dead_letter.topic not in TOPICS:
        raise NoConsumer
    if correction is None and is_incomplete(load_headers(dead_letter.headers)):
        raise Refused(
            "its value was too large for a dead letter and was left out; it is in the table parked of "
            f"{dead_letter.consumer}'s database: send a correction, or discard it"
        )
    after = domain.redrive(state(dead_letter))
    await redrive_dead_letters(db, [redrive_of(dead_letter, after, correction)])
    await record(db, "redriven", [(dead_letter, after)], reason, correction)


async def discard_one(db: AsyncConnection, dead_letter: Row[Any], reason: Reason) -> None:
    """Discards a locked dead letter. Raises Refused."""
    after = domain.discard(state(dead_letter))
    if after != state(dead_letter):
        await record(db, "discarded", [(dead_letter, after)], reason)


async def redrive_page(db: AsyncConnection, filter: Filter, span: Span, reason: Reason) -> list[int]:
    """Leaves out dead letters that `redrive_one` would refuse."""
    row = dead_letters.c
    is_whole = ~row.headers.contains(f'"{VALUE_OMITTED}"')
    can_be_redriven = row.topic.in_(TOPICS), row.redrive < MOST_REDRIVES, is_whole
    wanted = matching(SIZES, filter).where(row.status == "parked", *can_be_redriven)
    first = first_of_size(await lock_page(db, wanted, span), PAGE_BYTES)
    changed = [(row, domain.redrive(state(row))) for row in await read(db, first)]
    await redrive_dead_letters(db, [redrive_of(row, after) for row, after in changed])
    await record(db, "redriven", changed, reason)
    return [row.dead_letter_id for row, _ in changed]


def first_of_size(page: Rows, most_bytes: int) -> list[int]:
    """Returns the ids of the first rows that have no more bytes together, but at least one."""
    sizes = accumulate(row.value_bytes + row.header_bytes for row in page)
    return [
        row.dead_letter_id
        for n, (row, size) in enumerate(zip(page, sizes, strict=True))
        if not n or size <= most_bytes
    ]


async def read(db: AsyncConnection, ids: Sequence[int]) -> Rows:
    of_ids = select(*REDRIVEN_COLUMNS).where(dead_letters.c.dead_letter_id.in_(ids))
    return list(await db.execute(of_ids.order_by(dead_letters.c.dead_letter_id)))


async def discard_page(db: AsyncConnection, filter: Filter, span: Span, reason: Reason) -> list[int]:
    wanted = matching(STATES, filter).where(dead_letters.c.status == "parked")
    changed = [(row, domain.discard(state(row))) for row in await lock_page(db, wanted, span)]
    await record(db, "discarded", changed, reason)
    return [row.dead_letter_id for row, _ in changed]


async def discard_page_of_removed_consumer(
    db: AsyncConnection, filter: Filter, span: Span, reason: Reason
) -> list[int]:
    """Discards redriven dead letters, too: another redrive would wait for a topic that no longer exists."""
    wanted = matching(STATES, filter).where(dead_letters.c.status != "discarded")
    rows = await lock_page(db, wanted, span)
    changed = [(row, domain.discard_of_removed_consumer(state(row))) for row in rows]
    await record(db, "discarded", changed, reason)
    return [row.dead_letter_id for row, _ in changed]


async def lock_page(db: AsyncConnection, wanted: Select[Any], span: Span) -> Rows:
    """Locks rows in the order of their ids and returns them.

    A row locked by another transaction is waited for, and left out if that changed its state. So concurrent bulk
    redrives write to the outbox in the order of ids.
    """
    of_span = wanted.where(dead_letters.c.dead_letter_id > span.after)
    page = of_span.order_by(dead_letters.c.dead_letter_id).limit(span.limit)
    return list(await db.execute(page.with_for_update()))


def redrive_of(dead_letter: Row[Any], after: State, correction: Event | None = None) -> Redrive:
    origin = Origin(
        topic=dead_letter.topic,
        partition=dead_letter.partition,
        kafka_offset=dead_letter.kafka_offset,
        record_at=dead_letter.record_at,
        attempts=dead_letter.attempts,
        first_failed_at=dead_letter.first_failed_at,
        redrive=after.redrive,
    )
    headers = load_headers(dead_letter.headers)
    return Redrive(dead_letter.consumer, origin, dead_letter.key, dead_letter.value, headers, correction)


async def record(
    db: AsyncConnection,
    action: Action,
    changed: Sequence[tuple[Row[Any], State]],
    reason: Reason,
    correction: Event | None = None,
) -> None:
    """Writes the new states, and one row per dead letter that says who did what and why."""
    if not changed:
        return
    common = {
        "what": action,
        "who": reason.who,
        "why": reason.why,
        "correction": correction and json.dumps(correction.to_record()),
    }
    rows = [
        common | {"dead_letter_id": row.dead_letter_id, "redrive": after.redrive} for row, after in changed
    ]
    await db.execute(insert(actions), rows)
    states = [
        {"id": row.dead_letter_id, "status": after.status, "redrive": after.redrive} for row, after in changed
    ]
    by_id = dead_letters.c.dead_letter_id == bindparam("id")
    await db.execute(update(dead_letters).where(by_id), states)
