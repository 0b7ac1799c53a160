"""Letters as the API shows them: a list shows the beginning of each, a single letter nearly all of it."""

import json
from typing import Any

from sqlalchemy import Row, Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.outbox.table import Headers, load_headers
from services.dead_letters.models import ActionResponse, HeaderResponse, LetterResponse, Line
from services.dead_letters.tables import actions, letters

BEGINNING_BYTES = 32
VALUE_BYTES = 64 * 1024
HEADER_BYTES = 1024
HEADERS = 100
MESSAGE_CHARACTERS = 512


def lines(value_bytes: int = BEGINNING_BYTES) -> Select[Any]:
    """Letters without the weight: of what may be long, the beginning."""
    row = letters.c
    light = [column for column in row if column.name not in ("key", "value", "headers", "event")]
    return select(
        *light,
        func.substring(row.key, 1, HEADER_BYTES).label("key"),
        func.substring(row.value, 1, value_bytes).label("value"),
        func.octet_length(row.value).label("value_bytes"),
    )


def line(row: Row[Any]) -> Line:
    return Line.model_validate(_told(row))


async def read(letter_id: int, db: AsyncConnection) -> LetterResponse | None:
    wanted = lines(VALUE_BYTES).add_columns(
        letters.c.headers, letters.c.event, func.octet_length(letters.c.key).label("key_bytes")
    )
    row = (await db.execute(wanted.where(letters.c.letter_id == letter_id))).one_or_none()
    if row is None:
        return None
    done = select(actions).where(actions.c.letter_id == letter_id).order_by(actions.c.action_id)
    headers = load_headers(row.headers)
    return LetterResponse.model_validate(
        _told(row)
        | {
            "event": row.event and json.loads(row.event),
            "headers": [_header(name, value) for name, value in headers[:HEADERS]],
            "cut": _cut(row, headers),
            "actions": [_action(action) for action in await db.execute(done)],
        }
    )


def _told(row: Row[Any]) -> dict[str, Any]:
    return {
        **row._mapping,
        "key": _text(row.key),
        "value": None if row.value is None else row.value.hex(),
        "error_message": row.error_message[:MESSAGE_CHARACTERS],
    }


def _cut(row: Row[Any], headers: Headers) -> list[str]:
    is_cut = {
        "key": (row.key_bytes or 0) > HEADER_BYTES,
        "value": (row.value_bytes or 0) > VALUE_BYTES,
        "headers": len(headers) > HEADERS or any(len(value or b"") > HEADER_BYTES for _, value in headers),
    }
    return [name for name, cut in is_cut.items() if cut]


def _header(name: str, value: bytes | None) -> HeaderResponse:
    return HeaderResponse(name=name, value=_text(value))


def _action(row: Row[Any]) -> ActionResponse:
    return ActionResponse.model_validate(
        {**row._mapping, "correction": row.correction and json.loads(row.correction)}
    )


def _text(data: bytes | None) -> str | None:
    """As text if it is text, else as hex after 0x."""
    if data is None:
        return None
    try:
        return data[:HEADER_BYTES].decode()
    except UnicodeDecodeError:
        return f"0x{data[:HEADER_BYTES].hex()}"
