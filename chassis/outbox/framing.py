"""Makes messages of outbox rows: looks up the schema ids that the relay needs, and frames the payloads.

The API may be of a newer release than its relay, so a row may have an event type, or a version of one, that this
release does not know: its id is looked up by the subject's name and the version's number.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import asyncpg

from chassis.events.avro import frame
from chassis.events.record import EVENT_TYPES
from chassis.events.registry import Registry, SchemaNotRegistered
from chassis.events.topics import event_topic
from chassis.outbox.outcome import Outgoing, Refused
from chassis.outbox.table import UnreadableHeaders, load_headers
from schemas.files import subject_named


class Written(NamedTuple):
    """The contract by which a row's payload was encoded."""

    topic: str
    type: str
    schema_version: int | None


async def messages(rows: Sequence[asyncpg.Record], registry: Registry) -> list[Outgoing | Refused]:
    """Returns a message for each row, or why it cannot be sent. Raises RegistryUnavailable."""
    written = [_written(row) for row in rows]
    ids = await schema_ids({each for each in written if each}, registry)
    return [_message(row, ids[by] if by else None) for row, by in zip(rows, written, strict=True)]


async def schema_ids(
    written: Iterable[Written], registry: Registry
) -> dict[Written, int | SchemaNotRegistered]:
    """Returns the id of each schema, or the error if it is not registered. Raises RegistryUnavailable."""
    return {each: await _schema_id(each, registry) for each in written}


async def _schema_id(written: Written, registry: Registry) -> int | SchemaNotRegistered:
    topic, type_name, version = written
    try:
        if event_type := EVENT_TYPES.get(type_name):
            return await registry.schema_id(event_type, version)
        return await registry.schema_id_by_number(subject_named(event_topic(topic), type_name), version)
    except SchemaNotRegistered as error:
        return error


def _written(row: asyncpg.Record) -> Written | None:
    """Returns None for a row without a type: a dead letter, or a message redriven unchanged."""
    return None if row["type"] is None else Written(row["topic"], row["type"], row["schema_version"])


def _message(row: asyncpg.Record, schema_id: int | SchemaNotRegistered | None) -> Outgoing | Refused:
    try:
        if isinstance(schema_id, SchemaNotRegistered):
            raise schema_id
        value = row["payload"] if schema_id is None else frame(schema_id, row["payload"])
        return Outgoing(row["id"], row["topic"], row["key"], value, load_headers(row["headers"]))
    except (SchemaNotRegistered, UnreadableHeaders, TypeError) as error:
        return Refused(row["id"], row["topic"], row["key"], type(error).__name__, str(error))
