"""The options that choose letters, the same for every command."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from fanout.durations import seconds


def moment(text: str) -> str:
    """ISO 8601 with a zone, or a span of time ago. Typer calls it as a parser."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return (datetime.now(UTC) - timedelta(seconds=_span(text))).isoformat()
    if at.tzinfo is None:
        raise typer.BadParameter(f"'{text}' lacks its zone: end it with Z for UTC")
    return at.isoformat()


def _span(text: str) -> float:
    try:
        return seconds(text)
    except typer.BadParameter:
        raise typer.BadParameter(
            f"'{text}' is no time: write 10m for ten minutes ago, or 2026-03-01T12:00:00Z"
        ) from None


Consumer = Annotated[str | None, typer.Option("--consumer", help="Only what this consumer parked.")]
Topic = Annotated[str | None, typer.Option("--topic", help="Only what it read from this topic.")]
Reason = Annotated[
    str | None, typer.Option("--reason", help="Only of this failure class or error type, as ls shows them.")
]
Since = Annotated[
    str | None,
    typer.Option("--since", parser=moment, metavar="TIME", help="Only what failed last at or after that."),
]
Until = Annotated[
    str | None,
    typer.Option("--until", parser=moment, metavar="TIME", help="Only what failed last before: 10m, or ISO."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
