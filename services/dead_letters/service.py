"""Keeps every dead letter once, with the reason, and with what operators did about it."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, Select, bindparam, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.dead_letters.reader import DeadLetter
from chassis.outbox.table import dump_headers
from chassis.service import Service
from services.dead_letters.domain import Standing, hear
from services.dead_letters.tables import PLACE, letters, metadata

service = Service("dead_letters", metadata)

Place = tuple[str, str, int, int]


@service.on_dead_letters
async def file(arrived: Sequence[DeadLetter], db: AsyncConnection) -> None:
    """A letter is what it was when it first came; when it comes back, only its failure and standing are new."""
    in_turn = sorted(arrived, key=lambda letter: letter.origin.redrive)
    newest = {place(letter): letter for letter in in_turn}
    first = {place(letter): letter for letter in reversed(in_turn)}
    known = await lock(newest, db)
    fresh = [content(first[at]) | failing(newest[at]) for at in newest if at not in known]
    if fresh:
        await db.execute(insert(letters).on_conflict_do_nothing(), fresh)
    back = [
        failing(newest[at]) | {"id": row.letter_id}
        for at, row in known.items()
        if hear(standing(row), newest[at].origin.redrive) != standing(row)
    ]
    if back:
        await db.execute(update(letters).where(letters.c.letter_id == bindparam("id")), back)


async def lock(places: dict[Place, DeadLetter], db: AsyncConnection) -> dict[Place, Row[Any]]:
    """In the order of their ids, like everybody who locks letters."""
    wanted: Select[Any] = select(letters.c.letter_id, letters.c.status, letters.c.redrive, *PLACE)
    of_these = wanted.where(tuple_(*PLACE).in_(list(places)))
    rows = await db.execute(of_these.order_by(letters.c.letter_id).with_for_update())
    return {(row.consumer, row.topic, row.partition, row.kafka_offset): row for row in rows}


def place(letter: DeadLetter) -> Place:
    origin = letter.origin
    return letter.consumer, origin.topic, origin.partition, origin.kafka_offset


def standing(row: Row[Any]) -> Standing:
    return Standing(row.status, row.redrive)


def content(letter: DeadLetter) -> dict[str, Any]:
    event = None if letter.event is None else letter.event.to_record()
    return {
        **dict(zip((column.name for column in PLACE), place(letter), strict=True)),
        "record_at": letter.origin.record_at,
        "event_id": letter.event_id,
        "type": letter.type or None,
        "key": letter.key,
        "value": letter.value,
        "headers": dump_headers(letter.headers),
        "event": None if event is None else json.dumps(event, default=bytes.hex),
        "decode_error": letter.decode_error,
        "first_failed_at": letter.origin.first_failed_at or letter.last_failed_at,
    }


def failing(letter: DeadLetter) -> dict[str, Any]:
    return {
        "failure": letter.failure,
        "error_type": letter.error_type,
        "error_message": letter.error_message,
        "attempts": letter.origin.attempts,
        "last_failed_at": letter.last_failed_at,
        "status": "parked",
        "redrive": letter.origin.redrive,
    }
