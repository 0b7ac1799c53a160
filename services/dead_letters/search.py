"""Which letters are meant: by consumer, topic, reason and the time they failed last."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, or_

from schemas import EVENTS
from services.dead_letters.tables import letters

TOPICS = frozenset(event_type.TOPIC for event_type in EVENTS)
"""Letters from elsewhere were parked by nobody, and have no topic to come back through."""


@dataclass(frozen=True)
class Filter:
    """`reason` is a failure's class, such as permanent, or the type of the error; `until` is not included."""

    consumer: str | None = None
    topic: str | None = None
    reason: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def matching(wanted: Select[Any], asked: Filter) -> Select[Any]:
    row = letters.c
    if asked.consumer is not None:
        wanted = wanted.where(row.consumer == asked.consumer)
    if asked.topic is not None:
        wanted = wanted.where(row.topic == asked.topic)
    if asked.reason is not None:
        wanted = wanted.where(or_(row.failure == asked.reason, row.error_type == asked.reason))
    if asked.since is not None:
        wanted = wanted.where(row.last_failed_at >= asked.since)
    if asked.until is not None:
        wanted = wanted.where(row.last_failed_at < asked.until)
    return wanted
