"""Stores every dead letter once, with the reason, and what operators did about it."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, bindparam, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.events.dead_letter import DeadLetter
from chassis.outbox.table import dump_headers
from chassis.service import Service
from schemas.secrets import masked_text, secrets_in
from services.dead_letters.domain import State, apply_arrival
from services.dead_letters.tables import RECORD, RETENTION, dead_letters, metadata

service = Service("dead_letters", metadata, retention=[RETENTION])

RecordKey = tuple[str, str, int, int, datetime]
"""The values of the columns RECORD."""


@service.on_dead_letters
async def store(arrived: Sequence[DeadLetter], db: AsyncConnection) -> None:
    """Inserts dead letters of records not stored yet; one that failed again after a redrive updates its row.

    The stored record stays as it first arrived; a failed redrive changes only the failure and the state.
    """
    by_redrive = sorted(arrived, key=lambda dead_letter: dead_letter.origin.redrive)
    newest = {key_of(dead_letter): dead_letter for dead_letter in by_redrive}
    first = {key_of(dead_letter): dead_letter for dead_letter in reversed(by_redrive)}
    stored = await lock(db, newest)
    new = [record_columns(first[at]) | failure_columns(newest[at]) for at in newest if at not in stored]
    if new:
        await db.execute(insert(dead_letters).on_conflict_do_nothing(), new)
    failed_again = [
        failure_columns(newest[at]) | {"id": row.dead_letter_id}
        for at, row in stored.items()
        if apply_arrival(state(row), newest[at].origin.redrive) != state(row)
    ]
    if failed_again:
        by_id = dead_letters.c.dead_letter_id == bindparam("id")
        await db.execute(update(dead_letters).where(by_id), failed_again)


async def lock(db: AsyncConnection, keys: Iterable[RecordKey]) -> dict[RecordKey, Row[Any]]:
    """Returns the stored dead letters and locks their rows, by id as every transaction does, to avoid deadlocks."""
    row, record = dead_letters.c, [dead_letters.c[name] for name in RECORD]
    wanted: Select[Any] = select(row.dead_letter_id, row.status, row.redrive, *record)
    of_these = wanted.where(tuple_(*record).in_(list(keys)))
    rows = await db.execute(of_these.order_by(row.dead_letter_id).with_for_update())
    return {(row.consumer, row.topic, row.partition, row.kafka_offset, row.record_at): row for row in rows}


def key_of(dead_letter: DeadLetter) -> RecordKey:
    origin = dead_letter.origin
    return dead_letter.consumer, origin.topic, origin.partition, origin.kafka_offset, origin.record_at


def state(row: Row[Any]) -> State:
    return State(row.status, row.redrive)


def record_columns(dead_letter: DeadLetter) -> dict[str, Any]:
    event = None if dead_letter.event is None else dead_letter.event.to_record()
    return {
        **dict(zip(RECORD, key_of(dead_letter), strict=True)),
        "event_id": dead_letter.event_id,
        "type": dead_letter.type or None,
        "key": dead_letter.key,
        "value": dead_letter.value,
        "headers": dump_headers(dead_letter.headers),
        "event": None if event is None else json.dumps(event, default=bytes.hex),
        "decode_error": dead_letter.decode_error,
        "first_failed_at": dead_letter.origin.first_failed_at or dead_letter.last_failed_at,
    }


def failure_columns(dead_letter: DeadLetter) -> dict[str, Any]:
    """Returns the columns of the latest failure; its message quotes no secret of the event."""
    secrets = () if dead_letter.event is None else secrets_in(asdict(dead_letter.event))
    return {
        "failure": dead_letter.failure,
        "error_type": dead_letter.error_type,
        "error_message": masked_text(dead_letter.error_message, secrets),
        "attempts": dead_letter.origin.attempts,
        "last_failed_at": dead_letter.last_failed_at,
        "status": "parked",
        "redrive": dead_letter.origin.redrive,
    }
