"""Reads dead letters as the API returns them: a list has the beginning of each value, a single one up to 64 KiB.

Secrets are masked. Of bytes that may contain one, only the frame is returned: where the secret is in them is not known.
"""

import json
from collections.abc import Collection
from typing import Any

from sqlalchemy import Row, Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.events.avro import FRAME
from chassis.events.topics import event_topic
from chassis.outbox.table import Headers, load_headers
from schemas import EVENTS
from schemas.files import versions_of
from schemas.secrets import MASK, is_secret, masked, masked_text, secret_fields, secrets_in
from services.dead_letters.models import (
    ActionResponse,
    DeadLetterResponse,
    DeadLetterSummaryResponse,
    HeaderResponse,
)
from services.dead_letters.tables import actions, dead_letters

LIST_VALUE_BYTES = 32
VALUE_BYTES = 64 * 1024
HEADER_BYTES = 1024
HEADERS = 100
MESSAGE_CHARACTERS = 512

WITH_SECRETS = [
    each for each in EVENTS if any(secret_fields(json.loads(text)) for _, text in versions_of(each))
]
SECRET_TYPES = frozenset(each.NAME for each in WITH_SECRETS)
SECRET_TOPICS = frozenset(each.TOPIC for each in WITH_SECRETS)


def summaries(value_bytes: int = LIST_VALUE_BYTES) -> Select[Any]:
    """Selects dead letters without headers and event, and with the first bytes of key and value."""
    row = dead_letters.c
    small = [column for column in row if column.name not in ("key", "value", "headers", "event")]
    return select(
        *small,
        func.substring(row.key, 1, HEADER_BYTES).label("key"),
        func.substring(row.value, 1, value_bytes).label("value"),
        func.octet_length(row.value).label("value_bytes"),
    )


def summary(row: Row[Any]) -> DeadLetterSummaryResponse:
    return DeadLetterSummaryResponse.model_validate(_summary_fields(row, _may_contain_secrets(row)))


async def read(db: AsyncConnection, dead_letter_id: int) -> DeadLetterResponse | None:
    """Returns one dead letter with its headers and actions, or None if there is none of that id."""
    wanted = summaries(VALUE_BYTES).add_columns(
        dead_letters.c.headers, dead_letters.c.event, func.octet_length(dead_letters.c.key).label("key_bytes")
    )
    row = (await db.execute(wanted.where(dead_letters.c.dead_letter_id == dead_letter_id))).one_or_none()
    if row is None:
        return None
    done = select(actions).where(actions.c.dead_letter_id == dead_letter_id).order_by(actions.c.action_id)
    headers = load_headers(row.headers)
    event = row.event and json.loads(row.event)
    secrets = secrets_in(event)
    withholds = bool(secrets) if event else _may_contain_secrets(row)
    return DeadLetterResponse.model_validate(
        _summary_fields(row, withholds, secrets)
        | {
            "event": masked(event),
            "headers": [_header(name, value, secrets) for name, value in headers[:HEADERS]],
            "truncated": _truncated(row, headers),
            "withheld": ["value"] if withholds and (row.value_bytes or 0) > FRAME.size else [],
            "actions": [_action(action) for action in await db.execute(done)],
        }
    )


def _may_contain_secrets(row: Row[Any]) -> bool:
    return event_topic(row.topic) in SECRET_TOPICS or row.type in SECRET_TYPES


def _summary_fields(row: Row[Any], withholds: bool, secrets: Collection[str] = ()) -> dict[str, Any]:
    """Returns only the frame of a value that is withheld, and messages without the given secrets."""
    value = row.value and row.value[: FRAME.size if withholds else None]
    return {
        **row._mapping,
        "key": _text(row.key),
        "value": None if value is None else value.hex(),
        "error_message": masked_text(row.error_message, secrets)[:MESSAGE_CHARACTERS],
        "decode_error": row.decode_error and masked_text(row.decode_error, secrets),
    }


def _truncated(row: Row[Any], headers: Headers) -> list[str]:
    is_too_long = {
        "key": (row.key_bytes or 0) > HEADER_BYTES,
        "value": (row.value_bytes or 0) > VALUE_BYTES,
        "headers": len(headers) > HEADERS or any(len(value or b"") > HEADER_BYTES for _, value in headers),
    }
    return [name for name, too_long in is_too_long.items() if too_long]


def _header(name: str, value: bytes | None, secrets: Collection[str]) -> HeaderResponse:
    text = _text(value)
    return HeaderResponse(name=name, value=text and (MASK if is_secret(name) else masked_text(text, secrets)))


def _action(row: Row[Any]) -> ActionResponse:
    return ActionResponse.model_validate(
        {**row._mapping, "correction": masked(row.correction and json.loads(row.correction))}
    )


def _text(data: bytes | None) -> str | None:
    """Returns UTF-8 as text, and other bytes as hex after 0x."""
    if data is None:
        return None
    try:
        return data[:HEADER_BYTES].decode()
    except UnicodeDecodeError:
        return f"0x{data[:HEADER_BYTES].hex()}"
