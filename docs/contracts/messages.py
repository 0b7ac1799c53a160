"""The messages of the AsyncAPI document: one for each event type, one for dead letters, one for redriven records."""

from typing import Any

from chassis.events.dead_letter import DLQ_HEADERS, REDRIVE_HEADERS
from docs.contracts.examples import ORDER_ID, example_of, newest_schema
from docs.contracts.headers import (
    dead_letter_headers,
    example_dead_letter_headers,
    example_headers,
    headers_of_type,
    redrive_headers,
)
from schemas import Event
from schemas.files import subject_of, versions_of
from schemas.rendering import folder_of

BINDING_VERSION = "0.5.0"
AVRO = "application/vnd.apache.avro;version=1.9.0"
DEAD_LETTER, REDRIVEN_RECORD = "DeadLetter", "RedrivenRecord"


def message_of(event_type: type[Event]) -> dict[str, Any]:
    """Returns the message with the newest version of its schema, as the registry has it. Raises NoExample."""
    schema = newest_schema(event_type)
    payload = example_of(event_type, schema)
    example = event_type.from_record(payload)
    headers = example_headers(example)
    return {
        "name": event_type.NAME,
        "title": title_of(event_type),
        "summary": schema["doc"],
        "contentType": headers["content-type"],
        "headers": headers_of_type(example),
        "payload": {"schemaFormat": AVRO, "schema": schema},
        "bindings": {"kafka": _binding(event_type)},
        "examples": [{"name": "example", "headers": headers, "payload": to_avro_json(payload)}],
        "x-subject": subject_of(event_type),
        "x-versions": [
            {"version": number, "schema": f"schemas/{folder_of(event_type.NAME)}/v{number}.avsc"}
            for number, _ in versions_of(event_type)
        ],
    }


def _binding(event_type: type[Event]) -> dict[str, Any]:
    description = f"The event's {event_type.KEY} in UTF-8. Events with the same key stay in order."
    return {
        "key": {"type": "string", "description": description, "examples": [ORDER_ID]},
        "schemaIdLocation": "payload",
        "schemaIdPayloadEncoding": "confluent",
        "schemaLookupStrategy": "TopicRecordNameStrategy",
        "bindingVersion": BINDING_VERSION,
    }


def title_of(event_type: type[Event]) -> str:
    """OrderPlaced: Order placed."""
    return folder_of(event_type.NAME).replace("_", " ").capitalize()


def to_avro_json(value: Any) -> Any:
    """Returns the value with bytes as text, one character a byte, as in Avro's JSON encoding."""
    match value:
        case bytes():
            return value.decode("latin-1")
        case dict():
            return {name: to_avro_json(inner) for name, inner in value.items()}
        case list():
            return [to_avro_json(inner) for inner in value]
        case _:
            return value


def dead_letter() -> dict[str, Any]:
    return {
        "name": DEAD_LETTER,
        "title": "Dead letter",
        "summary": "A record that a consumer could not process, unchanged, and the reason.",
        "description": (
            "Key, value and headers are those of the record, whatever they are. The headers described here follow "
            "the record's own."
        ),
        "contentType": "application/octet-stream",
        "headers": dead_letter_headers(),
        **_unchanged_record(),
        "examples": [{"name": "example", "headers": example_dead_letter_headers(DLQ_HEADERS)}],
    }


def redriven_record() -> dict[str, Any]:
    return {
        "name": REDRIVEN_RECORD,
        "title": "Redriven record",
        "summary": "A dead letter that an operator gave back to the consumer that parked it.",
        "description": (
            "Key, value and headers are those of the record, or of its correction in the newest version of the "
            "schema. The headers described here follow the record's own; ce_id is the one that it had, if it had one."
        ),
        "contentType": "application/octet-stream",
        "headers": redrive_headers(),
        **_unchanged_record(),
        "examples": [
            {
                "name": "example",
                "headers": example_dead_letter_headers(REDRIVE_HEADERS) | {"dlq_redrive": "1"},
            }
        ],
    }


def _unchanged_record() -> dict[str, Any]:
    key = {"type": "string", "format": "binary", "description": "The record's key."}
    return {
        "payload": {"type": "string", "format": "binary", "description": "The record's value."},
        "bindings": {"kafka": {"key": key, "bindingVersion": BINDING_VERSION}},
    }
