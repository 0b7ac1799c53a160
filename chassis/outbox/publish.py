"""Publishes events in the transaction that makes their facts: `publish` writes outbox rows, the relay sends them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection
from uuid_utils.compat import uuid7

from chassis.database import CREATED, PUBLISHED, insert_rows
from chassis.events.avro import encode
from chassis.outbox.table import WRITTEN_COLUMNS, outbox
from chassis.telemetry import traces
from chassis.telemetry.span import Attributes
from chassis.telemetry.trace_context import TraceContext, new_root, parent_of
from schemas import Event

INSERT = insert_rows(outbox, *WRITTEN_COLUMNS)


async def publish(db: AsyncConnection, events: Iterable[Event]) -> None:
    """Adds the events to the caller's transaction, in this order.

    Call it after the aggregate's row is locked or changed, so that `outbox.id` has the order of its versions. Raises
    InvalidEvent, before anything is written, for an event that does not fit its contract.
    """
    rows = []
    for event in events:
        event_id = uuid7()
        rows.append(_row(event, event_id, _create(event, str(event_id), db)))
    await write_rows(db, rows)


def _row(event: Event, event_id: UUID, context: TraceContext) -> dict[str, Any]:
    payload = encode(event)
    return {
        "event_id": event_id,
        "topic": event.TOPIC,
        "type": event.NAME,
        "aggregate_id": event.key,
        "aggregate_version": event.aggregate_version,
        "key": event.key.encode(),
        "payload": payload,
        "schema_version": event.SCHEMA_VERSION,
        "headers": json.dumps(list(_cloudevents_headers(event, str(event_id), context).items())),
    }


def _create(event: Event, event_id: str, db: AsyncConnection) -> TraceContext:
    """Returns the context that the event keeps for ever: of its span, which is recorded when `db` commits.

    Without a span it is the context of what is being handled, or a new one.
    """
    parent = parent_of(event.key)
    span = traces.start(f"create {event.TOPIC}", traces.PRODUCER, parent)
    if span is None:
        return parent or new_root()
    db.info.setdefault(CREATED, []).append(span)
    about: Attributes = {
        "messaging.system": "kafka",
        "messaging.operation.name": "create",
        "messaging.operation.type": "create",
        "messaging.destination.name": event.TOPIC,
        "messaging.message.id": event_id,
        "messaging.kafka.message.key": event.key,
        "fanout.event_id": event_id,
        "fanout.event_type": event.NAME,
        "fanout.order_id": event.key,
    }
    span.set(about)
    return span.context


def _cloudevents_headers(event: Event, event_id: str, context: TraceContext) -> dict[str, str]:
    """Returns CloudEvents 1.0 headers (Kafka protocol binding, binary content mode) and the W3C trace context."""
    headers = {
        "ce_specversion": "1.0",
        "ce_id": event_id,
        "ce_type": event.NAME,
        "ce_source": f"/fanout/{event.TOPIC}",
        "ce_subject": event.key,
        "ce_time": datetime.now(UTC).isoformat(),  # when it was published; the payload says when it happened
        "content-type": "application/avro",
        "traceparent": context.traceparent,
    }
    return {**headers, "tracestate": context.tracestate} if context.tracestate else headers


async def write_rows(db: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Inserts outbox rows. After the commit, `Database.transaction` logs them and wakes the relay."""
    if rows:
        await INSERT.of_rows(db, rows)
        db.info.setdefault(PUBLISHED, []).extend(rows)
