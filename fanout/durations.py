"""Times as people write them: spans (`60s`, `2m`, `1.5`) and points in time (`2h` ago, `2026-03-01T12:00:00Z`)."""

import re
from datetime import UTC, datetime, timedelta

import typer

LONGEST_SECONDS = 366 * 24 * 3600.0
EARLIEST = datetime(1971, 1, 1, tzinfo=UTC)
"""No event is older, and the APIs take no earlier time."""

_UNITS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|)", re.ASCII)


def seconds(text: str) -> float:
    """Parses a span of at most a year for Typer; a bare number is seconds."""
    found = _SPAN.fullmatch(text.strip().lower())
    if found is None:
        raise typer.BadParameter(f"'{text[:40]}' is no span of time: write 60s, 2m or 1.5 (seconds)")
    span = float(found[1]) * _UNITS[found[2]]
    if span > LONGEST_SECONDS:
        raise typer.BadParameter(f"'{text[:40]}' is longer than a year, which is the longest span: write 24h")
    return span


def timestamp(text: str) -> datetime:
    """Parses a point in time for Typer: a span ago, or ISO 8601 with its zone. It must not be in the future."""
    now = datetime.now(UTC)
    if _SPAN.fullmatch(text.strip().lower()):
        return now - timedelta(seconds=seconds(text))
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise typer.BadParameter(f"'{text[:40]}' is no time: write 2h, 30m or 2026-03-01T12:00:00Z") from None
    if at.tzinfo is None:
        raise typer.BadParameter(f"'{text}' lacks its zone: end it with Z for UTC")
    if at > now:
        raise typer.BadParameter(f"'{text}' is in the future")
    if at < EARLIEST:
        raise typer.BadParameter(f"'{text}' is before 1971, when there were no events")
    return at
