"""Metrics, traces and logs of a process.

Logs are one JSON object per line, and so few lines per second that they never cost more than the work itself.
"""

import json
import logging
import re
import secrets
import time
from collections import Counter as Counts
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, TypeVar

import orjson
import structlog
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

NO_CONTEXTS: Mapping[str, str] = MappingProxyType({})
_parent_contexts: ContextVar[Mapping[str, str]] = ContextVar("parent_contexts", default=NO_CONTEXTS)
"""The traceparent of the event or request that is being handled, by aggregate id; "" stands for all aggregates."""


def set_parent_contexts(traceparents: Mapping[str, str]) -> None:
    """Sets what the events published from here on follow from: traceparents by aggregate id."""
    _parent_contexts.set(traceparents)


def current_traceparent() -> str:
    """Returns the traceparent of the request that is being handled, or "" outside a request."""
    return _parent_contexts.get().get("", "")


def traceparent_for(aggregate_id: str) -> str:
    """Returns a new span in the trace of the aggregate's parent context, or in a new trace (W3C, version 00)."""
    contexts = _parent_contexts.get()
    parent = TRACEPARENT.fullmatch(contexts.get(aggregate_id, contexts.get("", "")))
    trace_id = parent["trace_id"] if parent else secrets.token_hex(16)
    return f"00-{trace_id}-{secrets.token_hex(8)}-01"


def trace_id_of(traceparent: str) -> str:
    """Returns the trace id, or "" if `traceparent` is not valid."""
    match = TRACEPARENT.fullmatch(traceparent)
    return match["trace_id"] if match else ""


LINES_PER_SECOND = 20.0
"""How many lines about single events a process writes on average, each for some 50 µs of CPU, supervisor included."""
REPEAT_SECONDS = 10.0

T = TypeVar("T")


def configure_logging(service: str, process: str, level: str) -> None:
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_to_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.BytesLoggerFactory(),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service, process=process)
    libraries = logging.StreamHandler()
    libraries.setFormatter(JsonLine())
    libraries.addFilter(OncePerWhile(REPEAT_SECONDS))
    logging.basicConfig(level=logging.WARNING, handlers=[libraries])


def log_each(log: Any, event: str, items: Sequence[T], fields: Callable[[T], Mapping[str, object]]) -> None:
    """Logs a line for each item while lines are few; while they are many, one a second with the items' number.

    `fields` makes the fields of an item's line; it is called only for lines that are written.
    """
    if not items:
        return
    if _budget.take(len(items)):
        for item in items:
            log.info(event, **fields(item))
    elif count := _summary.add(event, len(items)):
        log.info(f"{event}_many", count=count)


class LineBudget:
    """Allows `per_second` lines on average, and as many at once after a quiet second (a token bucket)."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._left = per_second
        self._at = time.monotonic()

    def take(self, lines: int) -> bool:
        """Returns True, and counts them, if so many lines may be written now."""
        now = time.monotonic()
        self._left = min(self._per_second, self._left + (now - self._at) * self._per_second)
        self._at = now
        if lines > self._left:
            return False
        self._left -= lines
        return True


class Summary:
    """Adds up, by event, what was not logged line by line."""

    def __init__(self, seconds: float = 1.0) -> None:
        self._seconds = seconds
        self._counts: Counts[str] = Counts()
        self._said_at: dict[str, float] = {}

    def add(self, event: str, count: int) -> int:
        """Returns the number since the last summary when the next one is due, else 0."""
        self._counts[event] += count
        now = time.monotonic()
        if now - self._said_at.get(event, -self._seconds) < self._seconds:
            return 0
        self._said_at[event] = now
        return self._counts.pop(event)


_budget = LineBudget(LINES_PER_SECOND)
_summary = Summary()


def _to_json(line: Mapping[str, Any], **_: Any) -> bytes:
    """Renders with orjson; what it cannot write (lone surrogates, huge numbers), with json."""
    try:
        return orjson.dumps(line, default=repr)
    except TypeError:
        return json.dumps(line, default=repr).encode()


class JsonLine(logging.Formatter):
    """Formats the lines of libraries like our own."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"event": record.getMessage(), "logger": record.name, "level": record.levelname.lower()}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class OncePerWhile(logging.Filter):
    """Lets each message through once in `seconds`: during an outage Kafka's clients repeat theirs all the time."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        self._last: dict[tuple[str, object], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        what, now = (record.name, record.msg), time.monotonic()
        is_news = now - self._last.get(what, -self._seconds) >= self._seconds
        if is_news:
            self._last[what] = now
        return is_news
