"""Writes messages that are not new events, such as dead letters, to the outbox: their bytes are sent unchanged."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection
from uuid_utils.compat import uuid7

from chassis.outbox.publish import write_rows
from chassis.outbox.table import Headers, dump_headers


@dataclass(frozen=True, slots=True)
class Message:
    """Bytes to send unchanged; or, if `type` is given, an event's payload that the relay still has to frame."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    type: str | None = None
    schema_version: int | None = None


async def forward(db: AsyncConnection, messages: Iterable[Message]) -> None:
    """Adds the messages to the caller's transaction, in this order."""
    rows = [
        {
            "event_id": uuid7(),
            "topic": message.topic,
            "type": message.type,
            "aggregate_id": None,
            "aggregate_version": None,
            "key": message.key,
            "payload": message.value,
            "schema_version": message.schema_version,
            "headers": dump_headers(message.headers),
        }
        for message in messages
    ]
    await write_rows(db, rows)
