"""Reads the .avsc files, so that encoding an event needs no registry."""

import json
from functools import cache
from pathlib import Path
from typing import Any, cast

from fastavro import parse_schema

from schemas.event import Event
from schemas.parsing import NAMESPACE
from schemas.rendering import folder_of

ROOT = Path(__file__).parent


def versions_of(event_type: type[Event]) -> list[tuple[int, str]]:
    """Returns every published version of the schema, oldest first, and its text as it is registered."""
    folder = ROOT / folder_of(event_type.NAME)
    return [(n, (folder / f"v{n}.avsc").read_text("utf-8")) for n in range(1, event_type.SCHEMA_VERSION + 1)]


def subject_of(event_type: type[Event]) -> str:
    """Returns the subject by Confluent's TopicRecordNameStrategy: event types of one topic have a history each."""
    return subject_named(event_type.TOPIC, event_type.NAME)


def subject_named(topic: str, type_name: str) -> str:
    """Returns the subject of an event type that this release may not know."""
    return f"{topic}-{NAMESPACE}.{type_name}"


@cache
def parsed_schema(event_type: type[Event]) -> dict[str, Any]:
    """Returns the newest version of the schema, parsed by fastavro."""
    _, text = versions_of(event_type)[-1]
    return cast(dict[str, Any], parse_schema(json.loads(text)))
