"""Writes logs: one JSON object a line, and few enough lines that they never cost more than the work itself."""

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import orjson
import structlog

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
        self._counts: Counter[str] = Counter()
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
