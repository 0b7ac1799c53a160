"""`fanout dlq`: list and show dead letters, redrive them to their consumer, corrected if need be, or discard them."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from chassis.events.dead_letter_size import VALUE_OMITTED
from fanout.console import Json, counted, print_json, printable, say, table
from fanout.dead_letters_client import open_client
from fanout.durations import timestamp
from fanout.errors import BadUsage, Refusal
from schemas.secrets import masked_text

DeadLetter = dict[str, Any]

PAGE = 200
HEX_A_LINE = 64
DONE = {"redrive": "redriven", "discard": "discarded"}
STATUS = {
    "parked": "parked, waits for a decision",
    "redriven": "redriven to its consumer, which has not parked it again",
    "discarded": "discarded",
}


def _iso(text: str) -> str:
    return timestamp(text).isoformat()


Ids = Annotated[list[int] | None, typer.Argument(metavar="[ID]...", help="As ls shows.", show_default=False)]
Why = Annotated[str, typer.Option(help="The reason; it is kept.", show_default=False)]
Who = Annotated[str | None, typer.Option(help="Who decides that; default: you.")]
All = Annotated[bool, typer.Option("--all", help="Everything that is parked.")]
Correct = Annotated[str | None, typer.Option(metavar="FILE|-|JSON", help="Send this JSON object instead.")]
Type = Annotated[str | None, typer.Option("--type", help="With --correct: the event's type, if it has none.")]
Consumer = Annotated[str | None, typer.Option(help="Only what this consumer parked.")]
Topic = Annotated[str | None, typer.Option(help="Only what it read from this topic.")]
Reason = Annotated[str | None, typer.Option(help="Only of this failure class or error type.")]
Since = Annotated[str | None, typer.Option(parser=_iso, metavar="TIME", help="Only failures from then on.")]
Until = Annotated[str | None, typer.Option(parser=_iso, metavar="TIME", help="Only failures before then.")]
Status = Annotated[Literal["parked", "redriven", "discarded", "all"], typer.Option(help="Only these.")]
Limit = Annotated[int, typer.Option(min=1, help="Show so many at most.")]

command = typer.Typer(no_args_is_help=True, help="List, show, redrive or discard dead letters.")


@command.command()
def ls(
    consumer: Consumer = None,
    topic: Topic = None,
    reason: Reason = None,
    status: Status = "parked",
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    json_output: Json = False,
) -> None:
    """List dead letters, the oldest first.

    Example: fanout dlq ls --consumer fraud --reason permanent --since 10m
    """
    wanted = {"consumer": consumer, "topic": topic, "reason": reason, "since": since, "until": until}
    wanted["status"] = None if status == "all" else status
    found: list[DeadLetter] = []
    after: int | None = 0
    with open_client() as client:
        while after is not None and len(found) < limit:
            page = client.get(
                "/dead-letters", wanted | {"after": after, "limit": min(PAGE, limit - len(found))}
            )
            found += page["dead_letters"]
            after = page["next_after"]
    if json_output:
        print_json({"dead_letters": found, "more": after is not None})
        return
    if not found:
        print("no dead letters" if status == "all" else f"no {status} dead letters")
        return
    headings = (">id", "consumer", "from", "type", "status", "reason", ">tries", "last failed (UTC)")
    rows = map(_cells, found)
    Console(highlight=False).print(table(headings, rows, unbroken=("id", "last failed (UTC)")))
    if after is not None:
        print(f"the first {len(found)} are shown, there are more: --limit")


def _cells(dead_letter: DeadLetter) -> tuple[object, ...]:
    return (
        dead_letter["dead_letter_id"],
        dead_letter["consumer"],
        f"{dead_letter['topic']} {dead_letter['partition']}/{dead_letter['kafka_offset']}",
        (dead_letter["type"] or "-")[:40],
        dead_letter["status"],
        f"{dead_letter['failure']}: {dead_letter['error_type']}: {dead_letter['error_message'][:100]}",
        dead_letter["attempts"],
        _second(dead_letter["last_failed_at"]),
    )


@command.command()
def show(
    dead_letter_id: Annotated[int, typer.Argument(metavar="ID", help="As ls shows it.", show_default=False)],
    json_output: Json = False,
) -> None:
    """Show a dead letter: why it was parked, its event or its bytes, its headers, and the actions on it.

    Example: fanout dlq show 7
    """
    with open_client() as client:
        dead_letter = client.get(f"/dead-letters/{dead_letter_id}", {})
    if json_output:
        print_json(dead_letter)
        return
    for line in _lines(dead_letter):
        print(printable(line))


def _lines(dead_letter: DeadLetter) -> Iterator[str]:
    yield f"dead letter {dead_letter['dead_letter_id']}: {STATUS[dead_letter['status']]}"
    yield (
        f"{dead_letter['consumer']} parked it from {dead_letter['topic']}, partition {dead_letter['partition']}, "
        f"offset {dead_letter['kafka_offset']}, after {dead_letter['attempts']} tries, "
        f"{_second(dead_letter['last_failed_at'])} UTC"
    )
    yield f"reason: {dead_letter['failure']}: {dead_letter['error_type']}: {dead_letter['error_message']}"
    yield ""
    yield from _content(dead_letter)
    yield ""
    yield f"key: {dead_letter['key']}"
    yield from (f"{header['name']}: {header['value']}" for header in dead_letter["headers"])
    if dead_letter["truncated"]:
        yield f"truncated: {', '.join(dead_letter['truncated'])}"
    yield ""
    if not dead_letter["actions"]:
        yield "nothing was done about it: fanout dlq redrive ID --why …, or fanout dlq discard ID --why …"
    for action in dead_letter["actions"]:
        corrected = f", as {json.dumps(action['correction'])}" if action["correction"] else ""
        what = f"{action['what']} ({action['redrive']})" if action["what"] == "redriven" else action["what"]
        yield f"{_second(action['at'])} UTC  {what} by {action['who']}: {action['why']}{corrected}"


def _content(dead_letter: DeadLetter) -> Iterator[str]:
    """Yields the event if it can be decoded, else the bytes in hexadecimal."""
    if dead_letter["event"] is not None:
        yield str(dead_letter["type"])
        yield from json.dumps(dead_letter["event"], indent=2, ensure_ascii=False).splitlines()
        return
    yield f"cannot be decoded: {dead_letter['decode_error']}"
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
        yield from (text[start : start + HEX_A_LINE] for start in range(0, len(text), HEX_A_LINE))


def _second(timestamp: str) -> str:
    return timestamp[:19].replace("T", " ")


@command.command()
def redrive(
    ids: Ids = None,
    *,
    why: Why,
    who: Who = None,
    consumer: Consumer = None,
    topic: Topic = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    everything: All = False,
    correct: Correct = None,
    event_type: Type = None,
) -> None:
    """Redrive dead letters to the consumer that parked them. However often that is done, it is one effect.

    Example: fanout dlq redrive 7 --why "the bug is fixed"
    Example: fanout dlq redrive --consumer fraud --since 1h --why "the bug is fixed"
    Example: fanout dlq redrive 7 --correct fixed.json --why "the amount was negative"
    """
    wanted = {"consumer": consumer, "topic": topic, "reason": reason, "since": since, "until": until}
    body = {"why": why} | _correction(ids, correct, event_type)
    _act("redrive", ids, wanted, everything, who, body)


@command.command()
def discard(
    ids: Ids = None,
    *,
    why: Why,
    who: Who = None,
    consumer: Consumer = None,
    topic: Topic = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    everything: All = False,
) -> None:
    """Discard dead letters: they are kept with your reason, and never redriven.

    Example: fanout dlq discard 7 --why "a test message"
    """
    wanted = {"consumer": consumer, "topic": topic, "reason": reason, "since": since, "until": until}
    _act("discard", ids, wanted, everything, who, {"why": why})


def _correction(ids: Sequence[int] | None, given: str | None, event_type: str | None) -> dict[str, Any]:
    if given is None:
        if event_type is not None:
            raise BadUsage("--type is the type of a correction: add --correct")
        return {}
    if len(ids or ()) != 1:
        raise BadUsage("--correct is for a single dead letter: give one id")
    try:
        document = json.loads(_text(given))
    except ValueError as error:
        raise BadUsage(f"--correct: not JSON: {error}") from error
    return {"correction": document} | ({"type": event_type} if event_type else {})


def _text(given: str) -> str:
    if given.lstrip().startswith("{"):
        return given
    try:
        return sys.stdin.read() if given == "-" else Path(given).read_text()
    except OSError as error:
        raise BadUsage(f"--correct: {masked_text(given)} cannot be read: {error.strerror}") from error


def _act(
    action: str,
    ids: Sequence[int] | None,
    wanted: Mapping[str, str | None],
    everything: bool,
    who: str | None,
    body: Mapping[str, Any],
) -> None:
    """Acts on single dead letters by id, or on everything parked that matches."""
    filters = {name: value for name, value in wanted.items() if value is not None}
    if [bool(ids), bool(filters), everything].count(True) > 1:
        raise BadUsage("give ids, or filters, or --all, but not more than one of these")
    if not (ids or filters or everything):
        raise BadUsage("which dead letters? give ids or a filter, or --all for everything that is parked")
    if ids:
        _one_by_one(action, ids, who, body)
        return
    count = 0
    with open_client(who) as client:
        for done in client.pages(f"/dead-letters/{action}", {**body, **(filters or {"all": True})}):
            count += done
            say(f"{count} so far")
    print(f"{DONE[action]}: {counted(count, 'dead letter')}")


def _one_by_one(action: str, ids: Sequence[int], who: str | None, body: Mapping[str, Any]) -> None:
    """Goes on after a refusal, and exits with the highest exit code at the end."""
    failures = []
    with open_client(who) as client:
        for dead_letter_id in ids:
            try:
                client.post(f"/dead-letters/{dead_letter_id}/{action}", body)
            except Refusal as refusal:
                failures.append(refusal)
                print(f"error: {refusal}", file=sys.stderr)
            else:
                print(f"{DONE[action]}: dead letter {dead_letter_id}")
    if failures:
        raise typer.Exit(max(failure.exit_code for failure in failures))
