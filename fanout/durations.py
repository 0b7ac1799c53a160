"""Times as people write them: spans (`60s`, `2m`, `1.5`), and moments (`2h` ago, `2026-03-01T12:00:00Z`)."""

import re
from datetime import UTC, datetime, timedelta

import typer

_UNITS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|)")


def seconds(text: str) -> float:
    """In seconds; a bare number is seconds. Typer calls it as a parser."""
    found = _SPAN.fullmatch(text.strip().lower())
    if found is None:
        raise typer.BadParameter(f"'{text}' is no span of time: write 60s, 2m or 1.5")
    return float(found[1]) * _UNITS[found[2]]


def moment(text: str) -> datetime:
    """A span is so long ago; a time needs its zone, and lies in the past. Typer calls it as a parser."""
    now = datetime.now(UTC)
    if _SPAN.fullmatch(text.strip().lower()):
        return now - timedelta(seconds=seconds(text))
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise typer.BadParameter(f"'{text}' is no time: write 2h, 30m or 2026-03-01T12:00:00Z") from None
    if at.tzinfo is None:
        raise typer.BadParameter(f"'{text}' needs its zone, such as the Z of 2026-03-01T12:00:00Z")
    if at > now:
        raise typer.BadParameter(f"'{text}' lies in the future")
    return at
