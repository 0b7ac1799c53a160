"""Logs of a process: one JSON object per line, and so few lines per second that they never cost more than the work."""

import json
import logging
import sys
import time
from collections import Counter as Counts
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar

import orjson
import structlog

from chassis.masking import mask_log_line, without_secrets

LINES_PER_SECOND = 20.0
"""How many lines about single events a process writes on average. A line costs some 50 µs of CPU."""
REPEAT_SECONDS = 10.0
"""Libraries may log the same message so often."""
TRACES_SECONDS = 60.0

T = TypeVar("T")


def configure_logging(service: str, process: str, level: str) -> None:
    """Makes our own loggers and those of libraries write JSON lines."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            mask_log_line,
            structlog.processors.JSONRenderer(serializer=_to_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.BytesLoggerFactory(),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service, process=process)
    libraries = logging.StreamHandler()
    libraries.setFormatter(JsonLine())
    libraries.addFilter(RepeatFilter(REPEAT_SECONDS))
    logging.basicConfig(level=logging.WARNING, handlers=[libraries])
    sys.excepthook = _log_uncaught


def log_each(log: Any, event: str, items: Sequence[T], fields: Callable[[T], Mapping[str, object]]) -> None:
    """Logs a line for each item, or above `LINES_PER_SECOND` one line per second with the number of items.

    `fields` returns the fields of an item's line; it is called only for lines that are written.
    """
    if not items:
        return
    if _budget.take(len(items)):
        for item in items:
            log.info(event, **fields(item))
    elif count := _summary.add(event, len(items)):
        log.info(f"{event}_many", count=count)


class LineBudget:
    """Allows `per_second` lines on average, and as many at once after a second without lines (a token bucket)."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._left = per_second
        self._at = time.monotonic()

    def take(self, lines: int) -> bool:
        """Returns True, and counts the lines, if they may be written now."""
        now = time.monotonic()
        self._left = min(self._per_second, self._left + (now - self._at) * self._per_second)
        self._at = now
        if lines > self._left:
            return False
        self._left -= lines
        return True


class Summary:
    """Counts, by event, the items that were not logged line by line."""

    def __init__(self, seconds: float = 1.0) -> None:
        self._seconds = seconds
        self._counts: Counts[str] = Counts()
        self._logged_at: dict[str, float] = {}

    def add(self, event: str, count: int) -> int:
        """Adds `count`. Returns the number since the last summary if the next one is due, otherwise 0."""
        self._counts[event] += count
        now = time.monotonic()
        if now - self._logged_at.get(event, -self._seconds) < self._seconds:
            return 0
        self._logged_at[event] = now
        return self._counts.pop(event)


_budget = LineBudget(LINES_PER_SECOND)
_summary = Summary()


def _to_json(line: Mapping[str, Any], **_: Any) -> bytes:
    """Renders a line with orjson, or with json if orjson cannot (lone surrogates, huge numbers)."""
    try:
        return orjson.dumps(line, default=repr)
    except TypeError:
        return json.dumps(line, default=repr).encode()


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Logs the error that ends the process; Python would print its message as it is."""
    structlog.get_logger().critical("process_failed", exc_info=(kind, error, trace))


class JsonLine(logging.Formatter):
    """Formats log records of libraries as JSON lines."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            **structlog.contextvars.get_contextvars(),
            "event": without_secrets(record.getMessage()),
            "logger": record.name,
            "level": record.levelname.lower(),
        }
        if record.exc_info:
            line["exception"] = without_secrets(self.formatException(record.exc_info))
        return json.dumps(line)


class RepeatFilter(logging.Filter):
    """Passes each message at most once in `seconds`; Kafka's clients repeat theirs many times a second in an outage.

    Of OpenTelemetry one message passes in TRACES_SECONDS, whatever it says: when its collector is away, only spans are
    lost.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        self._last: dict[object, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        is_about_traces, now = record.name.startswith("opentelemetry."), time.monotonic()
        what = "traces" if is_about_traces else (record.name, record.msg)
        seconds = TRACES_SECONDS if is_about_traces else self._seconds
        is_news = now - self._last.get(what, -seconds) >= seconds
        if is_news:
            self._last[what] = now
        return is_news
