"""The conditions of a comparison as they are typed: states of the mail server, and a range of numbers."""

import re
from dataclasses import dataclass

import typer

from fanout.durations import seconds
from fanout.local.mail_fault import STOPPED, MailState

LONGEST_SECONDS = 10.0
MOST_LISTENERS = 20
MOST_LEVELS = 8
_RANGE = re.compile(r"(\d{1,3})(?:\.\.(\d{1,3}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Level:
    name: str
    state: MailState


def levels(text: str) -> list[Level]:
    """Parses `5ms,750ms,stopped` for Typer."""
    found = [_level(part.strip().lower()) for part in text.split(",")]
    if len({level.name for level in found}) < len(found) or len(found) > MOST_LEVELS:
        raise typer.BadParameter(
            f"'{text[:40]}' names a delay twice, or more than {MOST_LEVELS}: write 5ms,750ms"
        )
    return found


def listeners(text: str) -> list[int]:
    """Parses `1..6`, or one number, for Typer."""
    found = _RANGE.fullmatch(text.strip())
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= first <= last <= MOST_LISTENERS:
        raise typer.BadParameter(f"'{text[:40]}' is no range from 1 to {MOST_LISTENERS}: write 1..6")
    return list(range(first, last + 1))


def _level(text: str) -> Level:
    if text == STOPPED:
        return Level(STOPPED, MailState(None))
    delay = seconds(text)
    if delay > LONGEST_SECONDS:
        raise typer.BadParameter(f"'{text[:40]}' is longer than {LONGEST_SECONDS:.0f} s: write 750ms")
    return Level(f"{delay * 1000:.0f} ms", MailState(delay))
