"""`fanout dlq ls` and `fanout dlq show`: which messages are parked, and everything about one of them."""

import json
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from fanout.dlq.client import open_client
from fanout.dlq.options import Consumer, Json, Reason, Since, Topic, Until
from fanout.dlq.report import lines, table

Status = Annotated[
    Literal["parked", "redriven", "discarded", "all"],
    typer.Option("--status", help="What became of them so far."),
]
Limit = Annotated[int, typer.Option("--limit", min=1, help="Show so many at most.")]
PAGE = 200


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
    asked = {"consumer": consumer, "topic": topic, "reason": reason, "since": since, "until": until}
    found, has_more = _found(asked | {"status": None if status == "all" else status}, limit)
    if json_output:
        print(json.dumps({"dead_letters": found, "more": has_more}, indent=2))
        return
    if not found:
        print("no dead letters" if status == "all" else f"no {status} dead letters")
        return
    Console(highlight=False).print(table(found))
    if has_more:
        print(f"the first {len(found)} are shown, there are more: --limit")


def show(
    dead_letter_id: Annotated[int, typer.Argument(metavar="ID", help="As ls shows it.", show_default=False)],
    json_output: Json = False,
) -> None:
    """Show a dead letter: why it was parked, what it says or the bytes, its headers, and what was done about it.

    Example: fanout dlq show 7
    """
    with open_client() as client:
        letter = client.get(f"/dead-letters/{dead_letter_id}", {})
    if json_output:
        print(json.dumps(letter, indent=2))
        return
    for line in lines(letter):
        print(line)


def _found(asked: dict[str, Any], limit: int) -> tuple[list[dict[str, Any]], bool]:
    """The letters, and whether there may be more."""
    found: list[dict[str, Any]] = []
    after: int | None = 0
    with open_client() as client:
        while after is not None and len(found) < limit:
            page = client.get(
                "/dead-letters", asked | {"after": after, "limit": min(PAGE, limit - len(found))}
            )
            found += page["dead_letters"]
            after = page["next_after"]
    return found, after is not None
