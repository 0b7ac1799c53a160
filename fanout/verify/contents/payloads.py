"""Decodes the payloads of outbox rows, of any version, as records of the newest version that this release knows."""

import json
from collections.abc import Callable
from functools import cache
from io import BytesIO
from typing import Any, cast

from fastavro import parse_schema, schemaless_reader

from chassis.errors import PermanentFailure
from chassis.events.avro import FRAME, YEAR_10000_MS
from chassis.events.projection import projection
from schemas import Event
from schemas.files import versions_of

Read = Callable[[bytes], dict[str, Any]]


class Unreadable(PermanentFailure):
    """A payload is no event of its type, or not the event that its row says."""


class NewerRelease(PermanentFailure):
    """An event is of a type or a version that this release does not know."""


@cache
def reader_of(event_type: type[Event], version: int | None) -> Read:
    """Returns what decodes a bare payload of this version. The function raises Unreadable or NewerRelease.

    A payload of a version that is not known here is read as the newest one, which it is if only the version's texts
    have changed.
    """
    newest = event_type.SCHEMA_VERSION
    is_known = version in range(1, newest + 1)
    writer, reader = (
        _parsed(event_type, version if is_known and version else newest),
        _parsed(event_type, newest),
    )
    project = projection(writer, reader) if writer is not reader else None
    resolved = reader if writer is not reader and project is None else None

    def read(payload: bytes) -> dict[str, Any]:
        stream = BytesIO(payload)
        try:
            record: dict[str, Any] = schemaless_reader(stream, writer, resolved)  # type: ignore[assignment]
            if project:
                record = project(record)
            if stream.tell() == len(payload) and 0 <= record["occurred_at"] < YEAR_10000_MS:
                return record
            reason = "it has bytes too many, or a time that is none"
        except (
            Exception
        ) as error:  # fastavro raises EOFError, IndexError, UnicodeDecodeError, struct.error and more
            reason = f"{type(error).__name__}: {error}".rstrip(": ")
        if is_known or version is None:
            raise Unreadable(f"its payload cannot be read: {reason}")
        raise NewerRelease(f"version {version} of {event_type.NAME}")

    return read


def read_framed(event_type: type[Event], value: bytes) -> dict[str, Any]:
    """Decodes a value in Confluent's wire format, by the newest version that fits. Raises Unreadable."""
    for version in range(event_type.SCHEMA_VERSION, 0, -1):
        try:
            return reader_of(event_type, version)(value[FRAME.size :])
        except Unreadable as error:
            last = error
    raise last


@cache
def _parsed(event_type: type[Event], version: int) -> dict[str, Any]:
    texts = dict(versions_of(event_type))
    return cast(dict[str, Any], parse_schema(json.loads(texts[version])))
