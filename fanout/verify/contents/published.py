"""Reads the events of one outbox, and of the messages that were redriven, in pages."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from chassis.errors import PermanentFailure
from chassis.events.record import EVENT_TYPES
from chassis.events.topics import REDRIVE
from chassis.outbox.table import load_headers
from fanout.verify.contents.event_tables import Published
from fanout.verify.contents.payloads import NewerRelease, Unreadable, read_framed, reader_of
from schemas import Event

PAGE = 5_000


class Unread(NamedTuple):
    """An event that cannot be read. It is in order if each consumer has parked it: then none has applied it."""

    event_id: str
    redrive: int
    type: str
    order_id: str
    where: str
    reason: str
    consumer: str = ""

    def __str__(self) -> str:
        return f"{self.type} of {self.order_id} ({self.where}): {self.reason}"


@dataclass
class Page:
    """Some rows of an outbox: their events by type, and what is wrong with the others."""

    events: dict[type[Event], list[Published]] = field(default_factory=dict)
    unread: list[Unread] = field(default_factory=list)
    misnamed: list[str] = field(default_factory=list)
    of_newer_release: list[str] = field(default_factory=list)
    """Orders with an event that this release does not know."""
    rows: int = 0


async def pages(db: asyncpg.Connection, service: str, first_order: str) -> AsyncIterator[Page]:
    """Yields the events of orders from `first_order` on. The connection must be in a transaction."""
    cursor = await db.cursor(_EVENTS, first_order)
    while rows := await cursor.fetch(PAGE):
        yield _page(rows, service)
    cursor = await db.cursor(_REDRIVEN)
    while rows := await cursor.fetch(PAGE):
        yield _redriven_page(rows, service, first_order)


def first_order_since(cutoff: datetime | None) -> str:
    """Returns what sorts before the ids of all orders since then: their ids are UUIDv7, which begin with the time."""
    if cutoff is None:
        return ""
    milliseconds = f"{int(cutoff.timestamp() * 1000):012x}"
    return f"{milliseconds[:8]}-{milliseconds[8:]}"


def _page(rows: Sequence[Any], service: str) -> Page:
    page = Page(rows=len(rows))
    for event_id, type_name, order_id, version, schema_version, topic, payload, row_id in rows:
        event_type = EVENT_TYPES.get(type_name)
        if event_type is None:
            page.of_newer_release.append(order_id)
            continue
        try:
            record = reader_of(event_type, schema_version)(payload or b"")
        except NewerRelease:
            page.of_newer_release.append(order_id)
        except Unreadable as error:
            where = f"row {row_id} of the outbox of {service}"
            page.unread.append(Unread(event_id, 0, type_name, order_id, where, str(error)))
        else:
            said = (record[event_type.KEY], record[event_type.VERSION_FIELD], event_type.TOPIC)
            if said != (order_id, version, topic):
                page.misnamed.append(
                    f"{type_name} of {order_id} (row {row_id} of the outbox of {service}): "
                    f"its payload is version {said[1]} of {said[0]}, for topic {said[2]}"
                )
            page.events.setdefault(event_type, []).append(Published(event_id, 0, record))
    return page


def _redriven_page(rows: Sequence[Any], service: str, first_order: str) -> Page:
    """Leaves out a message that names no event of a known type: no handler was called with it."""
    page = Page(rows=len(rows))
    for topic, stored, type_name, schema_version, payload, row_id in rows:
        try:
            headers = dict(load_headers(stored))
            event_id = str(UUID(_text(headers["ce_id"])))
            redrive = int(_text(headers["dlq_redrive"]))
            event_type = EVENT_TYPES[type_name or _text(headers["ce_type"])]
        except (ValueError, KeyError):
            continue
        consumer = topic.removesuffix(REDRIVE).rpartition(".")[2]
        try:
            record = _redriven_record(event_type, schema_version, payload or b"")
        except PermanentFailure as error:
            where = f"redriven by row {row_id} of the outbox of {service}"
            order_id = _text(headers.get("ce_subject"))
            page.unread.append(
                Unread(event_id, redrive, event_type.NAME, order_id, where, str(error), consumer)
            )
        else:
            if record[event_type.KEY] >= first_order:
                published = Published(event_id, redrive, record, consumer)
                page.events.setdefault(event_type, []).append(published)
    return page


def _redriven_record(event_type: type[Event], schema_version: int | None, payload: bytes) -> dict[str, Any]:
    """A correction is a bare payload of a known version; without one the record's own value, framed, was sent again."""
    if schema_version is None:
        return read_framed(event_type, payload)
    return reader_of(event_type, schema_version)(payload)


def _text(header: bytes | None) -> str:
    return (header or b"").decode("ascii", "replace")


_EVENTS = """
    SELECT event_id::text, type, aggregate_id, aggregate_version, schema_version, topic, payload, id
    FROM outbox WHERE aggregate_id IS NOT NULL AND aggregate_id COLLATE "C" >= $1
"""
_REDRIVEN = f"""
    SELECT topic, headers, type, schema_version, payload, id
    FROM outbox WHERE aggregate_id IS NULL AND topic LIKE '%{REDRIVE}'
"""
