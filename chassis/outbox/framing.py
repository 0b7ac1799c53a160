"""Turns outbox rows into Kafka messages. A row that cannot be turned into one stands in its place as refused."""

from collections.abc import Sequence

import asyncpg

from chassis.events.avro import frame
from chassis.events.record import EVENT_TYPES
from chassis.events.registry import Registry, SchemaNotRegistered
from chassis.outbox.outcome import Outgoing, Refused
from chassis.outbox.publish import load_headers

Schema = tuple[str, int]
"""The name of an event type, and a version of it."""


class UnknownEventType(Exception):
    """A newer release wrote it, or an older one that had an event type that is gone."""


class UnreadableHeaders(Exception):
    """The column `headers` does not hold what `dump_headers` writes."""


async def framed(rows: Sequence[asyncpg.Record], registry: Registry) -> list[Outgoing | Refused]:
    """Raises RegistryUnavailable: then nothing can be said of the rows."""
    schemas = {(row["type"], row["schema_version"]) for row in rows if row["type"] is not None}
    ids = {schema: await _schema_id(schema, registry) for schema in schemas}
    return [_message(row, ids.get((row["type"], row["schema_version"]))) for row in rows]


async def _schema_id(schema: Schema, registry: Registry) -> int | Exception:
    name, version = schema
    if name not in EVENT_TYPES:
        return UnknownEventType(f"this release knows no event type {name}")
    try:
        return await registry.schema_id(EVENT_TYPES[name], version)
    except SchemaNotRegistered as error:
        return error


def _message(row: asyncpg.Record, schema_id: int | Exception | None) -> Outgoing | Refused:
    try:
        if isinstance(schema_id, Exception):
            raise schema_id
        value = row["payload"] if schema_id is None else frame(schema_id, row["payload"])
        return Outgoing(row["id"], row["topic"], row["key"], value, [*_headers(row["headers"])])
    except (SchemaNotRegistered, UnknownEventType, UnreadableHeaders, TypeError) as error:
        return Refused(row["id"], row["topic"], row["key"], type(error).__name__, str(error))


def _headers(stored: str) -> list[tuple[str, bytes | None]]:
    try:
        return load_headers(stored)
    except (ValueError, TypeError, AttributeError) as error:
        raise UnreadableHeaders(f"the column headers cannot be read: {error}") from error
