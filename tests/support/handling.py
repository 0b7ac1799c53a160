"""For the test of a consumer: an event of any type, handed to a service the way its worker does it."""

import asyncio
from typing import Any, TypeVar
from uuid import NAMESPACE_OID, uuid5

from sqlalchemy import Row, Table, select

import schemas
from chassis.consumer.batch import EventProcessor
from chassis.consumer.parking import parked
from chassis.database import Database
from chassis.events.avro import encode, frame
from chassis.events.record import Record
from chassis.service import Service
from schemas import Event
from schemas.files import parsed_schema, subject_of, versions_of
from schemas.model import Array, Enum, Nullable, Primitive, Type
from schemas.model import Record as Shape
from schemas.parsing import parse

NOON_MS = 1_772_366_400_000
PRIMITIVES: dict[str, Any] = {"int": 1, "long": 1000, "boolean": False, "double": 1.5, "bytes": b"bytes"}

E = TypeVar("E", bound=Event)


def example(event_type: type[E], **changes: Any) -> E:
    """Plausible values for every field, but for those that the test cares about."""
    version, text = versions_of(event_type)[-1]
    values = _example(parse(text, version, event_type.NAME).record, event_type.NAME)
    return event_type.from_record(values | {"occurred_at": NOON_MS} | changes)


async def handle(service: Service, database: Database, *events: Event) -> None:
    """One batch from Kafka. The same event again is a redelivery; fails if the service refuses one."""
    processor = EventProcessor(service, database, KnownSchemas())
    records = [_record(event, offset) for offset, event in enumerate(events)]
    await processor.process(records, asyncio.Event())
    refused = await rows(database, parked)
    assert not refused, refused


async def rows(database: Database, table: Table) -> list[Row[Any]]:
    async with database.transaction() as db:
        return list(await db.execute(select(table)))


class KnownSchemas:
    """A registry that knows every event by its place in EVENTS."""

    async def schema_by_id(self, schema_id: int) -> dict[str, Any]:
        return parsed_schema(schemas.EVENTS[schema_id])

    async def is_registered(self, schema_id: int, subject: str) -> bool:
        return subject == subject_of(schemas.EVENTS[schema_id])


def _record(event: Event, offset: int) -> Record:
    event_id = uuid5(NAMESPACE_OID, f"{event.NAME} {event.key} {event.aggregate_version}")
    headers = {"ce_type": event.NAME, "ce_id": str(event_id), "ce_subject": event.key}
    value = frame(schemas.EVENTS.index(type(event)), encode(event))
    encoded = [(name, text.encode()) for name, text in headers.items()]
    return Record(event.TOPIC, 0, offset, event.occurred_at, event.key.encode(), value, encoded)


def _example(kind: Type, name: str) -> Any:
    match kind:
        case Primitive("string"):
            return "EUR" if name == "currency" else f"{name.removesuffix('_id')}-1"
        case Primitive(primitive):
            return PRIMITIVES[primitive]
        case Enum(symbols=symbols):
            return symbols[0]
        case Array(items):
            return [_example(items, name)]
        case Nullable():
            return None
        case Shape(fields=fields):
            return {field.name: _example(field.type, field.name) for field in fields}
