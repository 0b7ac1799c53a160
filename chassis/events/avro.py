"""Encodes events in Confluent's wire format, and decodes them with guards against bytes of unknown origin.

A value is one zero byte, the id of the writer's schema (4 bytes, big-endian), and the event in Avro binary.
"""

import struct
from io import BytesIO
from typing import Any, Protocol, TypeVar

from fastavro import schemaless_reader, schemaless_writer

from chassis.errors import PermanentFailure
from schemas import Event
from schemas.files import parsed_schema

MAGIC = 0
FRAME = struct.Struct(">BI")
MAX_BYTES = 256 * 1024
YEAR_10000_MS = 253_402_300_800_000

E = TypeVar("E", bound=Event)


class Undecodable(PermanentFailure):
    """The bytes are not an event of the expected type."""


class WriterSchemas(Protocol):
    """The part of the registry client that decoding needs; encoding needs none, so that APIs load no client."""

    async def schema_by_id(self, schema_id: int) -> dict[str, Any]: ...


def encode(event: Event) -> bytes:
    """Returns the event in Avro binary, without the frame: only the relay can look up the schema id."""
    payload = BytesIO()
    schemaless_writer(payload, parsed_schema(type(event)), event.to_record())
    return payload.getvalue()


def frame(schema_id: int, payload: bytes) -> bytes:
    """Returns the payload in Confluent's wire format."""
    return FRAME.pack(MAGIC, schema_id) + payload


async def decode(value: bytes | None, event_type: type[E], registry: WriterSchemas) -> E:
    """Decodes an event. Raises Undecodable, UnknownSchemaId, UnsafeSchema or RegistryUnavailable."""
    if value is None or len(value) <= FRAME.size:
        raise Undecodable(f"a value of {len(value or b'')} bytes is too short for an event")
    if len(value) > MAX_BYTES:
        raise Undecodable(f"a value of {len(value)} bytes is over the limit of {MAX_BYTES}")
    magic, schema_id = FRAME.unpack_from(value)
    if magic != MAGIC:
        raise Undecodable(f"the first byte is {magic}, not {MAGIC}: not in Confluent's wire format")
    return _read(value, event_type, await registry.schema_by_id(schema_id))


def _read(value: bytes, event_type: type[E], writer: dict[str, Any]) -> E:
    reader = parsed_schema(event_type)
    if writer["name"] != reader["name"]:
        raise Undecodable(f"the schema id belongs to {writer['name']}, not to {reader['name']}")
    stream = BytesIO(value)
    stream.seek(FRAME.size)
    try:
        record: Any = schemaless_reader(stream, writer, None if writer is reader else reader)
        event = event_type.from_record(record)
    except Exception as error:
        # fastavro raises EOFError, IndexError, UnicodeDecodeError, struct.error and more.
        raise Undecodable(f"not {event_type.NAME}: {type(error).__name__}: {error}") from error
    if stream.tell() != len(value):
        raise Undecodable(f"{len(value) - stream.tell()} bytes left over after {event_type.NAME}")
    if not 0 <= event.occurred_at < YEAR_10000_MS:
        raise Undecodable(f"occurred_at {event.occurred_at} is not a time")
    return event
