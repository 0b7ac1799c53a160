"""Dead letters in words: a table of many, and all that is known of one."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from chassis.events.dead_letter_size import VALUE_OMITTED

HEX_A_LINE = 64
BECAME = {
    "parked": "parked, waits for somebody to decide",
    "redriven": "sent back to its consumer, and has not come back since",
    "discarded": "discarded",
}

DeadLetter = dict[str, Any]


def table(letters: Sequence[DeadLetter]) -> Table:
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    made.add_column("id", justify="right", no_wrap=True)
    for heading in ("consumer", "from", "type", "status", "reason"):
        made.add_column(heading)
    made.add_column("tries", justify="right")
    made.add_column("last failed (UTC)", no_wrap=True)
    for letter in letters:
        made.add_row(*(Text(printable(cell)) for cell in _cells(letter)))
    return made


def _cells(letter: DeadLetter) -> tuple[object, ...]:
    return (
        letter["dead_letter_id"],
        letter["consumer"],
        f"{letter['topic']} {letter['partition']}/{letter['kafka_offset']}",
        (letter["type"] or "-")[:40],
        letter["status"],
        f"{letter['failure']}: {letter['error_type']}: {letter['error_message'][:100]}",
        letter["attempts"],
        _second(letter["last_failed_at"]),
    )


def lines(letter: DeadLetter) -> Iterator[str]:
    return map(printable, _lines(letter))


def printable(text: object) -> str:
    """Nothing that came in a message speaks to the terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))


def _lines(letter: DeadLetter) -> Iterator[str]:
    yield f"letter {letter['dead_letter_id']}: {BECAME[letter['status']]}"
    yield (
        f"{letter['consumer']} parked it from {letter['topic']}, partition {letter['partition']}, "
        f"offset {letter['kafka_offset']}, after {letter['attempts']} tries, {_second(letter['last_failed_at'])} UTC"
    )
    yield f"reason: {letter['failure']}: {letter['error_type']}: {letter['error_message']}"
    yield ""
    yield from _content(letter)
    yield ""
    yield f"key: {letter['key']}"
    yield from (f"{header['name']}: {header['value']}" for header in letter["headers"])
    if letter["truncated"]:
        yield f"cut, being too long to show: {', '.join(letter['truncated'])}"
    yield from _audit(letter)


def _content(letter: DeadLetter) -> Iterator[str]:
    if letter["event"] is not None:
        yield str(letter["type"])
        yield from json.dumps(letter["event"], indent=2, ensure_ascii=False).splitlines()
        return
    yield f"cannot be decoded: {letter['decode_error']}"
    omitted = [header["value"] for header in letter["headers"] if header["name"] == VALUE_OMITTED]
    if omitted:
        yield (
            f"its value of {omitted[-1]} bytes is too large for a dead letter and was left out: "
            f"it is in the table parked of {letter['consumer']}'s database"
        )
        return
    if letter["value"] is None:
        yield "it has no value: a tombstone"
        return
    yield f"{letter['value_bytes']} bytes:"
    text = letter["value"]
    yield from (text[start : start + HEX_A_LINE] for start in range(0, len(text), HEX_A_LINE))


def _audit(letter: DeadLetter) -> Iterator[str]:
    yield ""
    if not letter["actions"]:
        yield "nothing was done about it: fanout dlq redrive ID --why …, or fanout dlq discard ID --why …"
    for action in letter["actions"]:
        corrected = f", as {json.dumps(action['correction'])}" if action["correction"] else ""
        what = f"{action['what']} ({action['redrive']})" if action["what"] == "redriven" else action["what"]
        yield f"{_second(action['at'])} UTC  {what} by {action['who']}: {action['why']}{corrected}"


def _second(moment: str) -> str:
    return moment[:19].replace("T", " ")
