"""Takes events over from Kafka into a restored database: their outbox rows, and what the service stores of them.

Both are one transaction for each chunk of events, so an interrupted command goes on where it ended.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.events.avro import FRAME, schema_id_in
from chassis.outbox.table import dump_headers, outbox
from chassis.service import Service
from fanout.contracts.registry import history, open_registry
from fanout.databases import session
from fanout.errors import FanoutError
from fanout.recover.missing import Missing
from schemas import Event
from schemas.files import subject_of

EVENTS_AT_ONCE = 500


def require_recovery(service: Service, events: Sequence[Missing]) -> None:
    """Raises FanoutError if the service does not say how to store an event again: then nothing is taken over."""
    unknown = sorted({each.type for each in events if type(each.decoded.event) not in service.recoveries})
    if unknown:
        raise FanoutError(
            f"{service.name} does not say what {', '.join(unknown)} changes in its tables (service.on_recovery), so "
            "nothing was taken over: docs/recovery.md says what else can be done"
        )


async def take_over(
    service: Service,
    url: str,
    registry_url: str,
    events: Sequence[Missing],
    progress: Callable[[int], None] = lambda done: None,
) -> None:
    """Inserts the events in their order. Raises FanoutError or Unreachable; what was taken over until then stays."""
    versions = _versions(registry_url, {type(each.decoded.event) for each in events})
    async with session(service.name, url) as db:
        for start in range(0, len(events), EVENTS_AT_ONCE):
            chunk = events[start : start + EVENTS_AT_ONCE]
            async with db.begin():
                await db.execute(insert(outbox), [_row(each, versions) for each in chunk])
                await _store(service, db, chunk)
            progress(start + len(chunk))


async def _store(service: Service, db: AsyncConnection, chunk: Sequence[Missing]) -> None:
    for event_type, found in groupby((each.decoded.event for each in chunk), key=type):
        await service.recoveries[event_type](list(found), db)


def _versions(registry_url: str, types: set[type[Event]]) -> Mapping[int, int]:
    """Returns the numbers of the versions of these types by their schema ids."""
    with open_registry(registry_url) as registry:
        known = [each for event_type in types for each in history(registry, subject_of(event_type))]
    return {each.schema_id: each.number for each in known}


def _row(missing: Missing, versions: Mapping[int, int]) -> dict[str, Any]:
    record, event = missing.record, missing.decoded.event
    value = record.value or b""
    return {
        "event_id": missing.decoded.event_id,
        "topic": record.topic,
        "type": event.NAME,
        "aggregate_id": event.key,
        "aggregate_version": event.aggregate_version,
        "key": record.key,
        "payload": value[FRAME.size :],
        "schema_version": versions[schema_id_in(value)],
        "headers": dump_headers(record.headers),
        "created_at": _made_at(record.header("ce_time")) or record.at,
        "published_at": record.at,
        "kafka_partition": record.partition,
        "kafka_offset": record.offset,
        "topic_id": missing.topic_id,
    }


def _made_at(ce_time: str) -> datetime | None:
    try:
        made = datetime.fromisoformat(ce_time)
    except ValueError:
        return None
    return made if made.tzinfo else None
