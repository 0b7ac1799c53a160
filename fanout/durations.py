"""Spans of time as people write them: `60s`, `2m`, `1.5`."""

import typer

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """In seconds; a bare number is seconds. Typer calls it as a parser."""
    number = text.strip().rstrip("mshMSH")
    unit = text.strip()[len(number) :].lower() or "s"
    try:
        return float(number) * _UNITS[unit]
    except (ValueError, KeyError):
        raise typer.BadParameter(f"'{text}' is no span of time: write 60s, 2m or 1.5") from None
