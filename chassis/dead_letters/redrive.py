"""Redrives dead letters: publishes them to a topic that only their consumer reads, with their original event id.

The consumer's inbox compares the `redrive` count: a parked event is claimed once per redrive, an applied one never
again. So redriving a dead letter twice has one effect.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from uuid import UUID, uuid5

from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import CREATED
from chassis.events.avro import encode
from chassis.events.dead_letter import REDRIVE_HEADERS, Headers, Origin, to_headers
from chassis.events.dead_letter_size import without_omission
from chassis.events.topics import redrive_topic
from chassis.outbox.forward import Message, forward
from chassis.telemetry import traces
from chassis.telemetry.span import Attributes
from chassis.telemetry.trace_context import context_in, parent_of
from schemas import Event

NAMESPACE = UUID("6f1b3a52-7c1e-5f0e-9d4f-0d6a4c1c2a11")


@dataclass(frozen=True, slots=True)
class Redrive:
    """A dead letter to publish again; `origin.redrive` includes this time. `correction` replaces its value."""

    consumer: str
    origin: Origin
    key: bytes | None
    value: bytes | None
    headers: Headers
    correction: Event | None = None


async def redrive_dead_letters(db: AsyncConnection, redrives: Iterable[Redrive]) -> None:
    """Writes the messages to the outbox in the caller's transaction."""
    messages = [(redrive, _message(redrive)) for redrive in redrives]
    await forward(db, [message for _, message in messages])
    if traces.is_on():
        for redrive, message in messages:
            _record(db, redrive, message)


def _record(db: AsyncConnection, redrive: Redrive, message: Message) -> None:
    """Records who redrove the message: a span below the request, with a link to the context that the message keeps."""
    headers = dict(message.headers)
    stored = context_in(headers)
    name, links = f"create {message.topic}", [(stored, None)] if stored else []
    span = traces.start(name, traces.PRODUCER, parent_of(""), links) or traces.start(
        name, traces.PRODUCER, None, links, always=True
    )
    if span is None:
        return
    event_id = (headers.get("ce_id") or b"").decode("utf-8", "replace")
    about: Attributes = {
        "messaging.system": "kafka",
        "messaging.operation.name": "create",
        "messaging.operation.type": "create",
        "messaging.destination.name": message.topic,
        "messaging.message.id": event_id,
        "fanout.event_id": event_id,
        "fanout.order_id": (headers.get("ce_subject") or b"").decode("utf-8", "replace"),
        "fanout.redrive": redrive.origin.redrive,
    }
    span.set(about)
    db.info.setdefault(CREATED, []).append(span)


def _message(redrive: Redrive) -> Message:
    origin = redrive.origin
    added = to_headers(REDRIVE_HEADERS, asdict(origin))
    topic = redrive_topic(origin.topic, redrive.consumer)
    unchanged = Message(topic, redrive.key, redrive.value, [*redrive.headers, *added])
    if (event := redrive.correction) is None:
        return unchanged
    return replace(
        unchanged,
        key=event.key.encode(),
        value=encode(event),
        headers=[*_corrected_headers(redrive, event), *added],
        type=event.NAME,
        schema_version=event.SCHEMA_VERSION,
    )


def _corrected_headers(redrive: Redrive, event: Event) -> list[tuple[str, bytes | None]]:
    """Returns the headers with the correction's type and, if the record has no valid event id, one from its origin."""
    origin = redrive.origin
    kept = [
        (name, value) for name, value in without_omission(redrive.headers) if name not in ("ce_type", "ce_id")
    ]
    new_id = str(uuid5(NAMESPACE, f"{origin.topic}/{origin.partition}/{origin.kafka_offset}")).encode()
    return [*kept, ("ce_id", _event_id(redrive.headers) or new_id), ("ce_type", event.NAME.encode())]


def _event_id(headers: Headers) -> bytes | None:
    """Returns the record's event id, which is in its last `ce_id` header, or None if that is not a UUID."""
    event_id = next((value for name, value in reversed(headers) if name == "ce_id"), None)
    try:
        UUID((event_id or b"").decode("ascii"))
    except ValueError:
        return None
    return event_id
