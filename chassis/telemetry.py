"""Metrics, and the trace that follows an order from event to event."""

import re
import secrets
from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Protocol

from prometheus_client import Counter, Gauge, Histogram

EVENTS = Counter("fanout_events", "Records by what became of them", ["consumer", "topic", "outcome"])
BATCH_SECONDS = Histogram(
    "fanout_batch_duration_seconds", "One batch from first read to commit", ["consumer"]
)
RELAYED = Counter("fanout_relayed_events", "Outbox rows with a good delivery report", ["service"])
RELAY_ACTIVE = Gauge("fanout_relay_active", "1 if this process' relay is the one that sends", ["service"])
UNSENT = Gauge("fanout_outbox_unsent", "Outbox rows still to send, counted up to 10,000", ["service"])
OLDEST_UNSENT = Gauge("fanout_outbox_oldest_unsent_seconds", "Age of the oldest of them", ["service"])
SET_ASIDE = Gauge("fanout_outbox_set_aside", "Outbox rows that cannot be sent", ["service"])
HELD = Gauge(
    "fanout_partition_held", "1 for a partition that cannot be read on", ["consumer", "topic", "partition"]
)
HOLDING = Gauge("fanout_consumer_holding", "Lanes that wait for a dependency to come back", ["consumer"])

REFUSED = Counter("fanout_refused_requests", "POST requests answered 503 for want of time", ["reason"])
GROUP_SIZE = Histogram(
    "fanout_group_commit_size", "Requests that shared a transaction", buckets=(1, 2, 5, 10, 20, 50, 100)
)

TRACEPARENT = re.compile(r"00-(?P<trace_id>[0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")

NO_CAUSES: Mapping[str, str] = MappingProxyType({})
_causes: ContextVar[Mapping[str, str]] = ContextVar("parent_contexts", default=NO_CAUSES)
"""Per aggregate, the traceparent of the event or request that is being handled; "" stands for any."""


class Measured(Protocol):
    """What is measured of an outbox."""

    @property
    def unsent(self) -> int: ...
    @property
    def oldest_unsent_seconds(self) -> float: ...
    @property
    def set_aside(self) -> int: ...


def outbox_measured(service: str, backlog: Measured) -> None:
    UNSENT.labels(service).set(backlog.unsent)
    OLDEST_UNSENT.labels(service).set(backlog.oldest_unsent_seconds)
    SET_ASIDE.labels(service).set(backlog.set_aside)


def set_parent_contexts(traceparents: Mapping[str, str]) -> None:
    """Says what the facts published from here on follow from: traceparent by aggregate id."""
    _causes.set(traceparents)


def cause() -> str:
    """Returns the traceparent of the request that is being handled, or "" outside of one."""
    return _causes.get().get("", "")


def traceparent_for(aggregate_id: str) -> str:
    """A new span in the trace that led here, or in a new trace (W3C Trace Context, version 00)."""
    parent_contexts = _causes.get()
    cause = TRACEPARENT.fullmatch(parent_contexts.get(aggregate_id, parent_contexts.get("", "")))
    trace_id = cause["trace_id"] if cause else secrets.token_hex(16)
    return f"00-{trace_id}-{secrets.token_hex(8)}-01"


def trace_id_of(traceparent: str) -> str:
    match = TRACEPARENT.fullmatch(traceparent)
    return match["trace_id"] if match else ""
