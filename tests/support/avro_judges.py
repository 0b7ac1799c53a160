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
