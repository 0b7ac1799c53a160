"""Shows dead letters as text: a list that fits 80 columns, and one in full with its reason first."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from chassis.events.dead_letter_size import VALUE_OMITTED

DeadLetter = Mapping[str, Any]

HEX_A_LINE = 64
GAP = "  "
HEADINGS = ("id", "consumer", "type", "from", "failed (UTC)", "tries")
TYPE = HEADINGS.index("type")
LONGEST_TYPE = 24
SHORTEST_TYPE = 12
LONGEST_REASON = 300
USUAL = "permanent"
"""The class of most failures; only another one is named in a list."""
STATUS = {
    "parked": "waits for your decision",
    "redriven": "was redriven to its consumer, which has not parked it again",
    "discarded": "was discarded",
}


def list_lines(dead_letters: Sequence[DeadLetter], width: int) -> Iterator[str]:
    """Yields two lines for each dead letter: what it is and, indented and cut to the width, why it was parked."""
    rows = [HEADINGS, *map(_cells, dead_letters)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    over = sum(widths) + len(GAP) * (len(widths) - 1) - width
    widths[TYPE] = min(widths[TYPE], max(widths[TYPE] - over, SHORTEST_TYPE))
    indent = " " * (widths[0] + len(GAP))
    for row, dead_letter in zip(rows, [None, *dead_letters], strict=True):
        first, *others = (_cut(cell, wide).ljust(wide) for cell, wide in zip(row, widths, strict=True))
        yield GAP.join([first.strip().rjust(widths[0]), *others]).rstrip()
        if dead_letter:
            yield _cut(indent + _reason(dead_letter), width)


def _cells(dead_letter: DeadLetter) -> tuple[str, ...]:
    return (
        str(dead_letter["dead_letter_id"]),
        dead_letter["consumer"],
        _cut(dead_letter["type"] or "-", LONGEST_TYPE),
        f"{dead_letter['topic']} {dead_letter['partition']}/{dead_letter['kafka_offset']}",
        second(dead_letter["last_failed_at"])[: len("2026-03-01 12:00")],
        str(dead_letter["attempts"]),
    )


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _reason(dead_letter: DeadLetter) -> str:
    status = "" if dead_letter["status"] == "parked" else f"{dead_letter['status']}: "
    failure = "" if dead_letter["failure"] == USUAL else f"{dead_letter['failure']}: "
    message = " ".join(dead_letter["error_message"][:LONGEST_REASON].split())
    return f"{status}{failure}{dead_letter['error_type']}: {message}"


def page_lines(dead_letter: DeadLetter, fields: Mapping[str, Any] | None) -> Iterator[str]:
    """Yields the reason, the fields of the event, None for those that were cut off, its bytes, headers and actions."""
    number = dead_letter["dead_letter_id"]
    yield f"{dead_letter['error_type']}: {dead_letter['error_message']}"
    yield ""
    yield f"dead letter {number} {STATUS[dead_letter['status']]}"
    yield f"parked by {dead_letter['consumer']} at {second(dead_letter['last_failed_at'])} UTC, {_tries(dead_letter)}"
    yield (
        f"read from {dead_letter['topic']}, partition {dead_letter['partition']}, "
        f"offset {dead_letter['kafka_offset']}; key {dead_letter['key']}"
    )
    yield ""
    yield from _content(dead_letter, fields)
    yield ""
    yield "headers"
    yield from (f"{GAP}{header['name']}: {header['value']}" for header in dead_letter["headers"])
    if dead_letter["truncated"]:
        yield f"truncated: {', '.join(dead_letter['truncated'])}"
    yield ""
    if not dead_letter["actions"]:
        again = "redrive" if dead_letter["event"] else "edit"
        yield f"next: fanout dlq {again} {number} --why …, or fanout dlq discard {number} --why …"
    for action in dead_letter["actions"]:
        corrected = f", as {json.dumps(action['correction'])}" if action["correction"] else ""
        what = f"{action['what']} ({action['redrive']})" if action["what"] == "redriven" else action["what"]
        yield f"{second(action['at'])} UTC  {what} by {action['who']}: {action['why']}{corrected}"


def _content(dead_letter: DeadLetter, fields: Mapping[str, Any] | None) -> Iterator[str]:
    if dead_letter["event"] is not None:
        yield str(dead_letter["type"])
        yield from _field_lines(dead_letter["event"])
        return
    yield f"cannot be decoded: {dead_letter['decode_error']}"
    if fields is not None:
        yield f"{dead_letter['type']}, as far as its bytes go"
        yield from _field_lines(fields, missing="(not in the bytes)")
    omitted = [header["value"] for header in dead_letter["headers"] if header["name"] == VALUE_OMITTED]
    if omitted:
        yield (
            f"its value of {omitted[-1]} bytes is too large for a dead letter and was left out: "
            f"it is in the table parked of {dead_letter['consumer']}'s database"
        )
    elif dead_letter["value"] is None:
        yield "it has no value: a tombstone"
    else:
        text = dead_letter["value"]
        withheld = (
            ", the first 5 are shown: the others may contain a secret" if dead_letter["withheld"] else ""
        )
        yield f"{dead_letter['value_bytes']} bytes{withheld}:"
        yield from (GAP + text[start : start + HEX_A_LINE] for start in range(0, len(text), HEX_A_LINE))


def _field_lines(fields: Mapping[str, Any], missing: str = "null") -> Iterator[str]:
    widest = max(map(len, fields), default=0)
    for name, value in fields.items():
        title = f"{GAP}{name.ljust(widest)}{GAP}"
        if isinstance(value, list) and value:
            yield from (
                (title if number == 0 else " " * len(title)) + _text(item)
                for number, item in enumerate(value)
            )
        else:
            yield title + (missing if value is None else _text(value)) + _as_time(name, value)


def _text(value: Any) -> str:
    match value:
        case str():
            return value
        case {}:
            return ", ".join(f"{name} {_text(item)}" for name, item in value.items())
        case _:
            return json.dumps(value, ensure_ascii=False)


def _as_time(name: str, value: Any) -> str:
    try:
        return (
            f" ({datetime.fromtimestamp(value / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC)"
            if name.endswith("_at")
            else ""
        )
    except (TypeError, ValueError, OverflowError, OSError):
        return ""


def _tries(dead_letter: DeadLetter) -> str:
    tries = "after 1 try" if dead_letter["attempts"] == 1 else f"after {dead_letter['attempts']} tries"
    return f"{tries} ({dead_letter['failure']})"


def second(timestamp: str) -> str:
    return timestamp[:19].replace("T", " ")
