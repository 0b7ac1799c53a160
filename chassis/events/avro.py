"""Encodes events in Confluent's wire format, and decodes them with guards against bytes of unknown origin.

A value is one zero byte, the id of the writer's schema (4 bytes, big-endian), and the event in Avro binary.
"""

import struct
from io import BytesIO
from typing import Any, Protocol, TypeVar

from fastavro import schemaless_reader, schemaless_writer

from chassis.errors import PermanentFailure
from chassis.events.projection import Convert, Unresolvable, projection
from chassis.events.validation import InvalidEvent, check
from schemas import Event
from schemas.files import parsed_schema, subject_of

MAGIC = 0
FRAME = struct.Struct(">BI")
MAX_BYTES = 256 * 1024
YEAR_10000_MS = 253_402_300_800_000

E = TypeVar("E", bound=Event)


class Undecodable(PermanentFailure):
    """The bytes are not an event of the expected type."""


class ForeignSchemaId(PermanentFailure):
    """The value was written with a schema that is no version of the event's contract."""


class WriterSchemas(Protocol):
    """The part of the registry client that decoding needs; encoding needs none, so that APIs load no client."""

    async def schema_by_id(self, schema_id: int) -> dict[str, Any]: ...

    async def is_registered(self, schema_id: int, subject: str) -> bool: ...


def encode(event: Event) -> bytes:
    """Returns the event in Avro binary, without the frame: only the relay can look up the schema id.

    Raises InvalidEvent for what `decode` would refuse.
    """
    check(event)
    payload = BytesIO()
    try:
        schemaless_writer(payload, parsed_schema(type(event)), event.to_record())
    except (ArithmeticError, TypeError, ValueError) as error:
        raise InvalidEvent(f"{event.NAME}: {error}") from error
    if payload.tell() > MAX_BYTES - FRAME.size:
        raise InvalidEvent(
            f"{event.NAME}: {payload.tell()} bytes are over the limit of {MAX_BYTES - FRAME.size}"
        )
    if not 0 <= event.occurred_at < YEAR_10000_MS:
        raise InvalidEvent(f"{event.NAME}.occurred_at: {event.occurred_at} is not a time")
    return payload.getvalue()


def frame(schema_id: int, payload: bytes) -> bytes:
    """Returns the payload in Confluent's wire format."""
    return FRAME.pack(MAGIC, schema_id) + payload


def schema_id_in(value: bytes | None) -> int:
    """Returns the id of the schema that a value was written with. Raises Undecodable if the value has no frame."""
    if value is None or len(value) <= FRAME.size:
        raise Undecodable(f"a value of {len(value or b'')} bytes is too short for an event")
    if len(value) > MAX_BYTES:
        raise Undecodable(f"a value of {len(value)} bytes is over the limit of {MAX_BYTES}")
    magic, schema_id = FRAME.unpack_from(value)
    if magic != MAGIC:
        raise Undecodable(f"the first byte is {magic}, not {MAGIC}: not in Confluent's wire format")
    return int(schema_id)


async def decode(value: bytes | None, event_type: type[E], registry: WriterSchemas) -> E:
    """Decodes an event.

    Raises Undecodable, ForeignSchemaId, UnknownSchemaId, UnsafeSchema, Unresolvable or RegistryUnavailable.
    """
    schema_id = schema_id_in(value)
    subject = subject_of(event_type)
    if not await registry.is_registered(schema_id, subject):
        raise ForeignSchemaId(f"the schema with the id {schema_id} is not a version of {subject}")
    return _read(value or b"", event_type, await registry.schema_by_id(schema_id))


def _read(value: bytes, event_type: type[E], writer: dict[str, Any]) -> E:
    reader = parsed_schema(event_type)
    if writer["name"] != reader["name"]:
        raise Undecodable(f"the schema id belongs to {writer['name']}, not to {reader['name']}")
    project = None if writer is reader else _projection(writer, reader)
    stream = BytesIO(value)
    stream.seek(FRAME.size)
    try:
        if writer is reader or project:
            record: Any = schemaless_reader(stream, writer, None)
        else:
            record = schemaless_reader(stream, writer, reader)
        event = event_type.from_record(project(record) if project else record)
    except Unresolvable:
        raise
    except Exception as error:
        # fastavro raises EOFError, IndexError, UnicodeDecodeError, struct.error and more.
        raise Undecodable(f"not {event_type.NAME}: {type(error).__name__}: {error}") from error
    if stream.tell() != len(value):
        raise Undecodable(f"{len(value) - stream.tell()} bytes left over after {event_type.NAME}")
    if not 0 <= event.occurred_at < YEAR_10000_MS:
        raise Undecodable(f"occurred_at {event.occurred_at} is not a time")
    return event


_projections: dict[tuple[int, int], tuple[dict[str, Any], Convert | Unresolvable | None]] = {}
"""By the identities of a writer's and a reader's schema. Each entry keeps its writer's schema, so that no other schema
can ever have its identity; the registry keeps all of them anyway."""


def _projection(writer: dict[str, Any], reader: dict[str, Any]) -> Convert | None:
    """Returns what `projection` returns or raises, computed once for each pair."""
    key = id(writer), id(reader)
    found = _projections.get(key)
    if found is None:
        found = _projections[key] = writer, _projection_or_reason(writer, reader)
    if isinstance(found[1], Unresolvable):
        raise Unresolvable(*found[1].args)
    return found[1]


def _projection_or_reason(writer: dict[str, Any], reader: dict[str, Any]) -> Convert | Unresolvable | None:
    try:
        return projection(writer, reader)
    except Unresolvable as reason:
        return reason
