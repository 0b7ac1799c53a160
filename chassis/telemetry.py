"""Logs with ids in them, metrics, and the trace that follows an order from fact to fact."""

import json
import logging
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Protocol

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
HOLDING = Gauge("fanout_consumer_holding", "Lanes that wait for a dependency to come back", ["consumer"])

LOG_EACH_UP_TO = 10
REPEAT_SECONDS = 10.0

TRACEPARENT = re.compile(r"00-(?P<trace_id>[0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")

NO_CAUSES: Mapping[str, str] = MappingProxyType({})
_causes: ContextVar[Mapping[str, str]] = ContextVar("causes", default=NO_CAUSES)
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


def configure_logging(service: str, process: str, level: str) -> None:
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service, process=process)
    libraries = logging.StreamHandler()
    libraries.setFormatter(JsonLine())
    libraries.addFilter(OncePerWhile(REPEAT_SECONDS))
    logging.basicConfig(level=logging.WARNING, handlers=[libraries])


class JsonLine(logging.Formatter):
    """What libraries log, in the shape of our own lines."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"event": record.getMessage(), "logger": record.name, "level": record.levelname.lower()}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class OncePerWhile(logging.Filter):
    """During an outage Kafka's clients say the same thing many times a second; once per `seconds` is enough."""

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


def log_each(log: Any, event: str, items: Sequence[Mapping[str, object]]) -> None:
    """A line for each of a few, one line for many: under load the log must not cost more than the work."""
    if len(items) > LOG_EACH_UP_TO:
        log.info(f"{event}_many", count=len(items))
        return
    for item in items:
        log.info(event, **item)
