"""Spans of time as people write them: `60s`, `2m`, `1.5`."""

import re

import typer

_UNITS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|)")


def seconds(text: str) -> float:
    """In seconds; a bare number is seconds. Typer calls it as a parser."""
    found = _SPAN.fullmatch(text.strip().lower())
    if found is None:
        raise typer.BadParameter(f"'{text}' is no span of time: write 60s, 2m or 1.5")
    return float(found[1]) * _UNITS[found[2]]
