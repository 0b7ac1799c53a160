"""Decides what becomes of a record, from its event type, the schema id in its value, and the topic it is read from.

| event type (header ce_type)              | schema id is registered for           | topic | the record is |
|------------------------------------------|---------------------------------------|-------|---------------|
| known to this release, with a handler    | this topic and type                   | right | applied       |
| known to this release, with a handler    | something else, or nothing            | right | parked        |
| known to this release, without a handler | (not looked at)                       | right | skipped       |
| known to this release                    | (not looked at)                       | wrong | parked        |
| unknown to this release                  | this topic and type                   |       | ignored       |
| unknown to this release                  | something else, or nothing, or no id  |       | parked        |
| missing                                  | (not looked at)                       |       | parked        |

"Registered for this topic and type": a version of the subject `<topic>-fanout.<type>` has the id. Such a type that this
release does not know was published by a newer one, during an upgrade; consumer/ignored.py keeps where it began, and
consumer/catch_up.py reads it again once a release handles it. A redriven record belongs to one consumer: it is applied
or parked again. While the registry is away nothing is decided: the record waits.
"""

from collections.abc import Mapping

from chassis.errors import PermanentFailure
from chassis.events.avro import WriterSchemas, decode, schema_id_in
from chassis.events.record import EVENT_TYPES, DecodedRecord, IgnoredRecord, Record, UnreadableRecord
from chassis.events.topics import REDRIVE, event_topic
from schemas import Event
from schemas.files import subject_named

NOT_UTF_8 = "\N{REPLACEMENT CHARACTER}"

Decoded = DecodedRecord | UnreadableRecord | IgnoredRecord | None
"""None for an event type that is known and not wanted."""


async def decode_record(
    record: Record, wanted: Mapping[str, type[Event]], registry: WriterSchemas
) -> Decoded:
    """Decodes a record of a type in `wanted`. Raises InfrastructureFailure while the registry is unavailable."""
    try:
        if is_unwanted(record, wanted):
            return None
        if await _is_of_newer_release(record, registry):
            return IgnoredRecord(record, record.header("ce_type"))
        type_name = _type_of(record)
        if type_name not in wanted:
            raise PermanentFailure(f"it was redriven as {type_name}, which this consumer does not handle")
        if (event_id := record.event_id) is None:
            raise PermanentFailure("header ce_id is missing or not a UUID")
        event = await decode(record.value, wanted[type_name], registry)
        if any(NOT_UTF_8 in name for name, _ in record.headers):
            raise PermanentFailure("the name of a header is not UTF-8")
        if record.key != event.key.encode():
            raise PermanentFailure(f"the key is {record.key!r:.100}, but the event's is {event.key[:100]!r}")
        return DecodedRecord(record, event_id, event)
    except PermanentFailure as failure:
        return UnreadableRecord(record, failure)


def is_unwanted(record: Record, wanted: Mapping[str, type[Event]]) -> bool:
    """Returns True if the record, by its headers, is an event of a known type not in `wanted`, and no redriven one.

    A record of an unknown type is looked at: only its schema id tells whether it is to be ignored or parked.
    """
    try:
        return _type_of(record) not in wanted and not record.topic.endswith(REDRIVE)
    except PermanentFailure:
        return False


async def _is_of_newer_release(record: Record, registry: WriterSchemas) -> bool:
    """Returns True if this release does not know the type, but the registry has the record's schema as one of it.

    Raises PermanentFailure for a value without a schema id, or with an id that the registry does not have.
    """
    type_name = record.header("ce_type")
    if not type_name or type_name in EVENT_TYPES or record.topic.endswith(REDRIVE):
        return False
    try:
        schema_id = schema_id_in(record.value)
        return await registry.is_registered(schema_id, subject_named(event_topic(record.topic), type_name))
    except PermanentFailure as failure:
        raise PermanentFailure(f"unknown event type {type_name[:100]!r}: {failure}") from failure


def _type_of(record: Record) -> str:
    """Returns the event type. Raises PermanentFailure if it is unknown or belongs to another topic."""
    type_name = record.header("ce_type")
    if not type_name:
        raise PermanentFailure("missing header ce_type")
    if type_name not in EVENT_TYPES:
        raise PermanentFailure(f"unknown event type {type_name[:100]!r}")
    own_topic, topic = EVENT_TYPES[type_name].TOPIC, event_topic(record.topic)
    if own_topic != topic:
        raise PermanentFailure(f"{type_name} belongs to the topic {own_topic}, not to {topic}")
    return type_name
