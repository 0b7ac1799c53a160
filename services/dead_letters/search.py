"""Selects dead letters by consumer, topic, reason, and the time of their last failure."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select

from chassis.errors import FailureClass
from schemas import EVENTS
from services.dead_letters.tables import dead_letters

TOPICS = frozenset(event_type.TOPIC for event_type in EVENTS)
"""Topics of events. A dead letter from another topic was parked by none of our consumers and cannot be redriven."""

FAILURE_CLASSES = frozenset(FailureClass)


@dataclass(frozen=True)
class Filter:
    """`reason` is a failure class, such as permanent, or the type of the error; `until` is exclusive."""

    consumer: str | None = None
    topic: str | None = None
    reason: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def matching(wanted: Select[Any], filter: Filter) -> Select[Any]:
    row = dead_letters.c
    if filter.consumer is not None:
        wanted = wanted.where(row.consumer == filter.consumer)
    if filter.topic is not None:
        wanted = wanted.where(row.topic == filter.topic)
    if filter.reason is not None:
        column = row.failure if filter.reason in FAILURE_CLASSES else row.error_type
        wanted = wanted.where(column == filter.reason)
    if filter.since is not None:
        wanted = wanted.where(row.last_failed_at >= filter.since)
    if filter.until is not None:
        wanted = wanted.where(row.last_failed_at < filter.until)
    return wanted
