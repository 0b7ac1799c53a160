"""`fanout dlq`: list and show dead letters, redrive them to their consumer, edited if need be, or discard them."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from fanout.console import Json, counted, print_json, printable, say
from fanout.dead_letter_fields import chosen_type, event_type_of, fields_of
from fanout.dead_letter_page import list_lines, page_lines
from fanout.dead_letters_client import Action, DeadLettersClient, open_client
from fanout.drafts import draft_of
from fanout.durations import timestamp
from fanout.editing import edit_until_accepted
from fanout.errors import BadUsage, FanoutError, Refusal
from fanout.running import running
from schemas.secrets import masked_text

DeadLetter = dict[str, Any]

PAGE = 200
DONE = {"redrive": "redriven", "discard": "discarded"}
CRASHED = "WorkerCrashed"


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
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask about what cannot be decoded.")]

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
    for line in list_lines(found, Console().width):
        print(printable(line))
    if after is not None:
        print(f"the first {len(found)} are shown, there are more: --limit")


@command.command()
def show(
    dead_letter_id: Annotated[int, typer.Argument(metavar="ID", help="As ls shows it.", show_default=False)],
    json_output: Json = False,
) -> None:
    """Show a dead letter: why it was parked, its event field by field, its headers, and the actions on it.

    Of an event that cannot be decoded it shows the fields that are there, and the bytes.

    Example: fanout dlq show 7
    """
    with open_client() as client:
        dead_letter = client.get(f"/dead-letters/{dead_letter_id}", {})
    if json_output:
        print_json(dead_letter)
        return
    fields = None
    if event_type := event_type_of(dead_letter):
        fields = fields_of(dead_letter, event_type, running().registry_url)
    for line in page_lines(dead_letter, fields):
        print(printable(line))


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
    yes: Yes = False,
) -> None:
    """Redrive dead letters to the consumer that parked them. However often that is done, it is one effect.

    One that cannot be decoded will be parked again if it is redriven unchanged, so that is asked about first.

    Example: fanout dlq redrive 7 --why "the bug is fixed"
    Example: fanout dlq redrive --consumer fraud --since 1h --why "the bug is fixed"
    Example: fanout dlq redrive 7 --correct fixed.json --why "the amount was negative"
    """
    wanted = {"consumer": consumer, "topic": topic, "reason": reason, "since": since, "until": until}
    body = {"why": why} | _correction(ids, correct, event_type)
    _require_choice(ids, wanted, everything)
    if correct is None and not yes:
        _ask_about_undecodable(ids, wanted)
    _act("redrive", ids, wanted, everything, who, body)


@command.command()
def edit(
    dead_letter_id: Annotated[int, typer.Argument(metavar="ID", help="As ls shows it.", show_default=False)],
    why: Why,
    who: Who = None,
    event_type: Annotated[
        str | None, typer.Option("--type", help="The event's type, if the dead letter has none.")
    ] = None,
) -> None:
    """Open the event of a dead letter in $VISUAL or $EDITOR, and redrive it as you left it.

    What was cut off is null. If what you wrote does not fit the contract, you are told and can edit again. Your text
    is kept in a file, which is named: the next edit goes on from it, fanout dlq redrive ID --correct FILE takes it as
    it is. The file is deleted once the dead letter is redriven or discarded with fanout.

    Example: EDITOR=nano fanout dlq edit 7 --why "truncated by a bug"
    """
    with open_client(who) as client:
        dead_letter = client.get(f"/dead-letters/{dead_letter_id}", {})
        chosen = chosen_type(dead_letter, event_type)
        document = fields_of(dead_letter, chosen, running().registry_url)
        named = {} if event_type_of(dead_letter) else {"type": chosen.NAME}
        decided = edit_until_accepted(
            document,
            draft_of(dead_letter_id),
            lambda edited: client.decide(
                "redrive", dead_letter_id, {"why": why, "correction": edited, **named}
            ),
            otherwise=f"fanout dlq redrive {dead_letter_id} --correct FILE",
        )
    print(f"{_done('redrive', decided)} as edited: dead letter {dead_letter_id}")


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
    _require_choice(ids, wanted, everything)
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


def _require_choice(ids: Sequence[int] | None, wanted: Mapping[str, str | None], everything: bool) -> None:
    has_filter = any(value is not None for value in wanted.values())
    if [bool(ids), has_filter, everything].count(True) > 1:
        raise BadUsage("give ids, or filters, or --all, but not more than one of these")
    if not (ids or has_filter or everything):
        raise BadUsage("which dead letters? give ids or a filter, or --all for everything that is parked")


def _ask_about_undecodable(ids: Sequence[int] | None, wanted: Mapping[str, str | None]) -> None:
    """Asks whether to redrive what cannot be decoded; raises BadUsage where nobody can be asked."""
    with open_client() as client:
        found = next((each for each in _chosen(client, ids, wanted) if _is_undecodable(each)), None)
    if found is None:
        return
    number = found["dead_letter_id"]
    sentence = f"dead letter {number} cannot be decoded, so unchanged it will be parked again"
    if not sys.stdin.isatty():
        raise BadUsage(
            f"nothing was redriven: {sentence}: correct it with fanout dlq edit {number}, or add --yes"
        )
    if not typer.confirm(
        f"{sentence}: fanout dlq edit {number} corrects it. Redrive nevertheless?", err=True
    ):
        raise FanoutError("nothing was redriven")


def _chosen(
    client: DeadLettersClient, ids: Sequence[int] | None, wanted: Mapping[str, str | None]
) -> Iterator[DeadLetter]:
    """Yields the dead letters with these ids, without those that are unknown, else those that match."""
    for dead_letter_id in ids or ():
        try:
            yield client.get(f"/dead-letters/{dead_letter_id}", {})
        except Refusal:
            continue  # whoever acts on it says so
    after: int | None = None if ids else 0
    while after is not None:
        page = client.get("/dead-letters", {**wanted, "status": "parked", "after": after, "limit": PAGE})
        yield from page["dead_letters"]
        after = page["next_after"]


def _is_undecodable(dead_letter: DeadLetter) -> bool:
    """Returns False for one that was never decoded because it crashed its worker."""
    return dead_letter["decode_error"] is not None and dead_letter["error_type"] != CRASHED


def _act(
    action: Action,
    ids: Sequence[int] | None,
    wanted: Mapping[str, str | None],
    everything: bool,
    who: str | None,
    body: Mapping[str, Any],
) -> None:
    """Acts on single dead letters by id, or on everything parked that matches."""
    filters = {name: value for name, value in wanted.items() if value is not None}
    if ids:
        _one_by_one(action, ids, who, body)
        return
    count = 0
    with open_client(who) as client:
        for done in client.decide_all(action, {**body, **(filters or {"all": True})}):
            count += done
            say(f"{count} so far")
    print(f"{DONE[action]}: {counted(count, 'dead letter')}")


def _one_by_one(action: Action, ids: Sequence[int], who: str | None, body: Mapping[str, Any]) -> None:
    """Goes on after a refusal, and exits with the highest exit code at the end."""
    failures = []
    with open_client(who) as client:
        for dead_letter_id in ids:
            try:
                decided = client.decide(action, dead_letter_id, body)
            except Refusal as refusal:
                failures.append(refusal)
                print(f"error: {refusal}", file=sys.stderr)
            else:
                print(f"{_done(action, decided)}: dead letter {dead_letter_id}")
    if failures:
        raise typer.Exit(max(failure.exit_code for failure in failures))


def _done(action: Action, decided: DeadLetter) -> str:
    """Returns what became of a dead letter; its `redrive` counts the redrives, this one included."""
    return f"{DONE[action]} again" if action == "redrive" and decided["redrive"] > 1 else DONE[action]
