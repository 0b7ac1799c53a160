"""Metrics, and the trace that follows an order from event to event."""

import re
import secrets
from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType

from prometheus_client import Counter, Gauge, Histogram

EVENTS = Counter("fanout_events", "Records by what became of them", ["consumer", "topic", "outcome"])
BATCH_SECONDS = Histogram(
    "fanout_batch_duration_seconds", "One batch from first read to commit", ["consumer"]
)
RELAYED = Counter("fanout_relayed_events", "Outbox rows with a good delivery report", ["service"])
HELD = Gauge(
    "fanout_partition_held", "1 for a partition that cannot be read on", ["consumer", "topic", "partition"]
)
HOLDING = Gauge("fanout_consumer_holding", "Lanes that wait for a dependency to come back", ["consumer"])

TRACEPARENT = re.compile(r"00-(?P<trace_id>[0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")

NO_CAUSES: Mapping[str, str] = MappingProxyType({})
_causes: ContextVar[Mapping[str, str]] = ContextVar("causes", default=NO_CAUSES)
"""Per aggregate, the traceparent of the event or request that is being handled; "" stands for any."""


def set_causes(traceparents: Mapping[str, str]) -> None:
    """Says what the facts published from here on follow from: traceparent by aggregate id."""
    _causes.set(traceparents)


def traceparent_for(aggregate_id: str) -> str:
    """A new span in the trace that led here, or in a new trace (W3C Trace Context, version 00)."""
    causes = _causes.get()
    cause = TRACEPARENT.fullmatch(causes.get(aggregate_id, causes.get("", "")))
    trace_id = cause["trace_id"] if cause else secrets.token_hex(16)
    return f"00-{trace_id}-{secrets.token_hex(8)}-01"


def trace_id_of(traceparent: str) -> str:
    match = TRACEPARENT.fullmatch(traceparent)
    return match["trace_id"] if match else ""
