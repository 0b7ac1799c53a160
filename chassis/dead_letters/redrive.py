"""The way back for a dead letter: to a topic that only its consumer reads, under the event id it always had.

The consumer's inbox compares the `redrive` count: a parked event is taken up once per redrive, an applied one
never again. So sending a letter back twice is one effect.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from uuid import UUID, uuid5

from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.events.avro import encode
from chassis.events.dead_letter import REDRIVE_HEADERS, Headers, Origin, written
from chassis.events.dead_letter_size import complete
from chassis.events.topics import retry_topic
from chassis.outbox.forward import Message, forward
from schemas import Event

NAMESPACE = UUID("6f1b3a52-7c1e-5f0e-9d4f-0d6a4c1c2a11")


@dataclass(frozen=True, slots=True)
class Redrive:
    """A letter on its way back; `origin.redrive` counts this time too. `correction` takes the place of its value."""

    consumer: str
    origin: Origin
    key: bytes | None
    value: bytes | None
    headers: Headers
    correction: Event | None = None


async def redrive_dead_letters(db: AsyncConnection, letters: Iterable[Redrive]) -> None:
    """Part of the caller's transaction, like everything that goes through the outbox."""
    await forward(db, [_message(letter) for letter in letters])


def _message(letter: Redrive) -> Message:
    origin = letter.origin
    labels = written(REDRIVE_HEADERS, asdict(origin))
    topic = retry_topic(origin.topic, letter.consumer)
    as_it_was = Message(topic, letter.key, letter.value, [*letter.headers, *labels])
    if (event := letter.correction) is None:
        return as_it_was
    headers = [*_completed(letter, event), *labels]
    return replace(
        as_it_was,
        key=event.key.encode(),
        value=encode(event),
        headers=headers,
        type=event.NAME,
        schema_version=event.SCHEMA_VERSION,
    )


def _completed(letter: Redrive, event: Event) -> list[tuple[str, bytes | None]]:
    """The type is the correction's; a record without a readable id gets one that is the same each time."""
    ids = [value for name, value in letter.headers if name == "ce_id"]
    origin = letter.origin
    place = f"{origin.topic}/{origin.partition}/{origin.kafka_offset}"
    own = [(name, value) for name, value in complete(letter.headers) if name not in ("ce_type", "ce_id")]
    return [
        *own,
        ("ce_id", _uuid(ids[-1:]) or str(uuid5(NAMESPACE, place)).encode()),
        ("ce_type", event.NAME.encode()),
    ]


def _uuid(candidates: list[bytes | None]) -> bytes | None:
    for candidate in candidates:
        try:
            UUID((candidate or b"").decode("ascii"))
        except ValueError:
            return None
        return candidate
    return None
