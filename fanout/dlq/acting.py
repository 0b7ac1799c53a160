"""`fanout dlq redrive` and `fanout dlq discard`: single letters by their ids, or everything parked that matches."""

import getpass
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from fanout.console import say
from fanout.dlq.client import Client, open_client
from fanout.dlq.options import Consumer, Reason, Since, Topic, Until
from fanout.errors import BadUsage, Refusal

Ids = Annotated[
    list[int] | None, typer.Argument(metavar="[ID]...", help="Letters as ls shows them.", show_default=False)
]
Why = Annotated[str, typer.Option("--why", help="The reason; it is kept.", show_default=False)]
Who = Annotated[str | None, typer.Option("--who", help="Who decides that; default: you.")]
All = Annotated[bool, typer.Option("--all", help="Everything that is parked.")]
Correct = Annotated[
    str | None,
    typer.Option(
        "--correct", metavar="FILE|-|JSON", help="Send this event instead: all its fields, as a JSON object."
    ),
]
Type = Annotated[
    str | None, typer.Option("--type", help="With --correct: what the letter is, if it does not say.")
]
DONE = {"redrive": "sent back", "discard": "discarded"}


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
    """Send dead letters back to the consumer that parked them. However often that is done, it is one effect.

    Example: fanout dlq redrive 7 --why "the bug is fixed"
    Example: fanout dlq redrive --consumer fraud --since 1h --why "the bug is fixed"
    Example: fanout dlq redrive 7 --correct fixed.json --why "the amount was negative"
    """
    asked = {"consumer": consumer, "topic": topic, "reason": reason, "since": since, "until": until}
    chosen = _chosen(ids, asked, everything)
    corrected = _correction(ids, correct, event_type)
    _act("redrive", ids, chosen, _decision(who, why) | corrected)


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
    """Discard dead letters: they are kept with your reason, and never sent back.

    Example: fanout dlq discard 7 --why "a test message"
    """
    asked = {"consumer": consumer, "topic": topic, "reason": reason, "since": since, "until": until}
    _act("discard", ids, _chosen(ids, asked, everything), _decision(who, why))


def _chosen(ids: Sequence[int] | None, asked: Mapping[str, str | None], everything: bool) -> dict[str, Any]:
    """The filter to send; ids, a filter and --all are three ways, of which one is meant."""
    given = {name: value for name, value in asked.items() if value is not None}
    if [bool(ids), bool(given), everything].count(True) > 1:
        raise BadUsage("give ids, or filters, or --all, but not more than one of these")
    if not (ids or given or everything):
        raise BadUsage("which letters? give ids or a filter, or --all for everything that is parked")
    return given or {"all": True}


def _decision(who: str | None, why: str) -> dict[str, Any]:
    return {"who": who or getpass.getuser(), "why": why}


def _correction(ids: Sequence[int] | None, given: str | None, event_type: str | None) -> dict[str, Any]:
    if given is None:
        if event_type is not None:
            raise BadUsage("--type says what a correction is: add --correct")
        return {}
    if len(ids or ()) != 1:
        raise BadUsage("--correct is for a single letter: give one id")
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
        raise BadUsage(f"--correct: {given} cannot be read: {error.strerror}") from error


def _act(deed: str, ids: Sequence[int] | None, chosen: Mapping[str, Any], body: Mapping[str, Any]) -> None:
    with open_client() as client:
        if ids:
            _one_by_one(client, deed, ids, body)
        else:
            _all_of(client, deed, {**body, **chosen})


def _all_of(client: Client, deed: str, body: Mapping[str, Any]) -> None:
    count = 0
    for done in client.pages(f"/dead-letters/{deed}", body):
        count += done
        say(f"{count} so far")
    print(f"{DONE[deed]}: {count} {'letter' if count == 1 else 'letters'}")


def _one_by_one(client: Client, deed: str, ids: Sequence[int], body: Mapping[str, Any]) -> None:
    """All of them, whatever becomes of one."""
    failures = []
    for dead_letter_id in ids:
        try:
            client.post(f"/dead-letters/{dead_letter_id}/{deed}", body)
        except Refusal as refusal:
            failures.append(refusal)
            print(f"error: {refusal}", file=sys.stderr)
        else:
            print(f"{DONE[deed]}: letter {dead_letter_id}")
    if failures:
        raise typer.Exit(max(failure.exit_code for failure in failures))
