"""Publishes events in the transaction that makes their facts: `publish` writes outbox rows, the relay sends them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection
from uuid_utils.compat import uuid7

from chassis.database import PUBLISHED, insert_rows
from chassis.events.avro import encode
from chassis.outbox.table import WRITTEN_COLUMNS, outbox
from chassis.telemetry.trace_context import traceparent_for
from schemas import Event

INSERT = insert_rows(outbox, *WRITTEN_COLUMNS)


async def publish(db: AsyncConnection, events: Iterable[Event]) -> None:
    """Adds the events to the caller's transaction, in this order.

    Call it after the aggregate's row is locked or changed, so that `outbox.id` has the order of its versions. Raises
    InvalidEvent, before anything is written, for an event that does not fit its contract.
    """
    await write_rows(db, [_row(event) for event in events])


def _row(event: Event) -> dict[str, Any]:
    payload, event_id = encode(event), uuid7()
    return {
        "event_id": event_id,
        "topic": event.TOPIC,
        "type": event.NAME,
        "aggregate_id": event.key,
        "aggregate_version": event.aggregate_version,
        "key": event.key.encode(),
        "payload": payload,
        "schema_version": event.SCHEMA_VERSION,
        "headers": json.dumps(list(_cloudevents_headers(event, str(event_id)).items())),
    }


def _cloudevents_headers(event: Event, event_id: str) -> dict[str, str]:
    """Returns CloudEvents 1.0 headers (Kafka protocol binding, binary content mode) and the W3C trace context."""
    return {
        "ce_specversion": "1.0",
        "ce_id": event_id,
        "ce_type": event.NAME,
        "ce_source": f"/fanout/{event.TOPIC}",
        "ce_subject": event.key,
        "ce_time": datetime.now(UTC).isoformat(),  # when it was published; the payload says when it happened
        "content-type": "application/avro",
        "traceparent": traceparent_for(event.key),  # see trace_context.set_parent_contexts
    }


async def write_rows(db: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Inserts outbox rows. After the commit, `Database.transaction` logs them and wakes the relay."""
    if rows:
        await INSERT.of_rows(db, rows)
        db.info.setdefault(PUBLISHED, []).extend(rows)
