"""Decodes the fields of a dead letter up to the end of its bytes, so that they can be shown and corrected."""

import asyncio
from collections.abc import Mapping
from io import BytesIO
from typing import Any

from fastavro import parse_schema, schemaless_reader

from chassis.errors import InfrastructureFailure, PermanentFailure
from chassis.events.avro import FRAME, schema_id_in
from chassis.events.record import EVENT_TYPES
from chassis.events.registry import Registry
from fanout.errors import BadUsage
from schemas import Event
from schemas.files import parsed_schema
from schemas.secrets import masked


def event_type_of(dead_letter: Mapping[str, Any]) -> type[Event] | None:
    """Returns the type of the dead letter, None if it names none of its topic."""
    found = EVENT_TYPES.get(dead_letter["type"] or "")
    return found if found and dead_letter["topic"] == found.TOPIC else None


def chosen_type(dead_letter: Mapping[str, Any], given: str | None) -> type[Event]:
    """Returns the dead letter's own type, else the given one. Raises BadUsage if neither is of its topic."""
    of_topic = {name: it for name, it in EVENT_TYPES.items() if dead_letter["topic"] == it.TOPIC}
    own = event_type_of(dead_letter)
    if own and given not in (None, own.NAME):
        raise BadUsage(f"--type: dead letter {dead_letter['dead_letter_id']} is of type {own.NAME}")
    if found := own or of_topic.get(given or ""):
        return found
    if not of_topic:
        raise BadUsage(
            f"the topic {dead_letter['topic']} has no events, so there is nothing to edit: discard it"
        )
    raise BadUsage(
        f"dead letter {dead_letter['dead_letter_id']} does not say which event it is: add --type with one of "
        f"{', '.join(of_topic)}"
    )


def fields_of(dead_letter: Mapping[str, Any], event_type: type[Event], registry_url: str) -> dict[str, Any]:
    """Returns every field of the event, masked; None for one that cannot be decoded, such as one that was cut off."""
    if dead_letter["event"] is not None:
        return dict(dead_letter["event"])
    value = bytes.fromhex(dead_letter["value"] or "")
    decoded = masked(beginning(value, asyncio.run(_writer(value, event_type, registry_url))))
    fields = {field["name"]: decoded.get(field["name"]) for field in parsed_schema(event_type)["fields"]}
    if fields[event_type.KEY] is None and dead_letter["key"]:
        fields[event_type.KEY] = dead_letter["key"]
    return fields


def beginning(value: bytes, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Returns as many fields as can be decoded one after the other, from the first on."""
    for count in range(len(schema["fields"]), 0, -1):
        # A type is defined where it occurs first, so the first fields are a schema by themselves.
        first = {"type": "record", "name": schema["name"], "fields": schema["fields"][:count]}
        try:
            found: Any = schemaless_reader(BytesIO(value[FRAME.size :]), parse_schema(first), None)
        except Exception:  # fastavro raises EOFError, IndexError, UnicodeDecodeError, struct.error and more
            continue
        return dict(found)
    return {}


async def _writer(value: bytes, event_type: type[Event], registry_url: str) -> Mapping[str, Any]:
    """Returns the schema that the value names, the type's own newest one if the registry does not have or give it."""
    registry = Registry(registry_url)
    try:
        return await registry.schema_by_id(schema_id_in(value))
    except (PermanentFailure, InfrastructureFailure):
        return parsed_schema(event_type)
    finally:
        await registry.aclose()
