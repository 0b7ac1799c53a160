"""Asks three judges whether one schema can read what another wrote: fastavro, Apache's avro, and a live registry."""

import copy
import io
import json
import warnings
from typing import Any

import avro.compatibility
import avro.errors
import avro.io
import avro.schema
import fastavro

from tests.support.avro_bytes import covering
from tests.support.avro_schemas import definitions, is_symbol


def fastavro_error(reader: Any, writer: Any) -> str | None:
    """Returns what fails when fastavro reads covering values of the writer's schema; None if it reads them all."""
    names: dict[str, Any] = {}
    try:
        reading = fastavro.parse_schema(copy.deepcopy(reader), named_schemas={})
        writing = fastavro.parse_schema(copy.deepcopy(writer), named_schemas=names)
        for value in covering(writer):
            fastavro.schemaless_reader(io.BytesIO(value), writing, reading)
    except Exception as error:  # garbage ends in whatever the bytes lead to
        return f"{type(error).__name__}: {error}"
    return None


def avro_error(reader: Any, writer: Any) -> str | None:
    """Returns what fails when Apache's avro reads covering values of the writer's schema; None if it reads them all."""
    try:
        datum_reader = avro.io.DatumReader(avro_schema(writer), avro_schema(reader))
        for value in covering(writer):
            datum_reader.read(avro.io.BinaryDecoder(io.BytesIO(value)))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def avro_compatibility_error(reader: Any, writer: Any) -> str | None:
    """Returns the messages of Apache's `avro.compatibility`; None if it calls the two compatible."""
    checker: Any = avro.compatibility.ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]
    try:
        found = checker.get_compatibility(avro_schema(reader), avro_schema(writer))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if found.compatibility is avro.compatibility.SchemaCompatibilityType.compatible:
        return None
    return "; ".join(sorted(found.messages)) or "incompatible"


def avro_schema(schema: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", avro.errors.IgnoredLogicalType)
        return avro.schema.parse(json.dumps(schema))


def fastavro_changes(reader: Any, writer: Any) -> list[tuple[Any, Any]]:
    """Returns each written value that fastavro reads as another value with the reader's schema, and that other value.

    A symbol that the reader does not know may become another symbol, and a field that the reader does not know is gone.
    """
    reading = fastavro.parse_schema(copy.deepcopy(reader), named_schemas={})
    writing = fastavro.parse_schema(copy.deepcopy(writer), named_schemas={})
    sources = {field["name"]: field.get("aliases", []) for field in _fields(reader)}
    values = [
        (fastavro.schemaless_reader(io.BytesIO(value), writing), _read(value, writing, reading))
        for value in covering(writer)
    ]
    return [(written, read) for written, read in values if not _is_same(written, read, sources)]


def _read(value: bytes, writing: Any, reading: Any) -> Any:
    return fastavro.schemaless_reader(io.BytesIO(value), writing, reading)


def _fields(schema: Any) -> list[Any]:
    return [field for _, spec in definitions(schema) for field in spec.get("fields", ())]


def _is_same(written: Any, read: Any, sources: dict[str, list[str]]) -> bool:
    match written, read:
        case dict(), dict():
            found = {key: [name for name in (key, *sources.get(key, [])) if name in written] for key in read}
            return all(
                _is_same(written[names[0]], read[key], sources) for key, names in found.items() if names
            )
        case list(), list():
            pairs = zip(written, read, strict=True) if len(written) == len(read) else [(0, 1)]
            return all(_is_same(one, other, sources) for one, other in pairs)
        case str(), bytes():
            return written.encode() == read
        case str(), str():
            return written == read or (is_symbol(written) and is_symbol(read))
        case _:
            return bool(written == read)
