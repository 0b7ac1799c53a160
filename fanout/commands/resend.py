"""`fanout resend`: has the relays send outbox rows again that Kafka has lost."""

import asyncio
import sys
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console

from fanout.completion import service_names
from fanout.console import Json, console, counted, print_json, progress, table
from fanout.databases import Databases
from fanout.durations import timestamp
from fanout.environment import user_name
from fanout.errors import BadUsage, did_you_mean
from fanout.names import service_of
from fanout.resend import lost
from fanout.resend.selection import Group, Selection, of_ids, of_topic
from fanout.resend.sending import Reason, Resend, history, send_again
from fanout.running import running

Topic = Annotated[str | None, typer.Option(help="The topic whose rows are sent again.", show_default=False)]
Since = Annotated[
    datetime | None,
    typer.Option(parser=timestamp, metavar="TIME", help="Sent since then: 2h, 30m, or ISO 8601."),
]
Lost = Annotated[
    bool, typer.Option("--lost", help="What is lost or gone with its topic, as verify counts it.")
]
Of = Annotated[
    str | None,
    typer.Option("--service", help="Only this service's outbox.", autocompletion=service_names),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only print what would be sent.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
By = Annotated[str | None, typer.Option(help="Who decides that; default: you. It is kept.")]
Why = Annotated[str, typer.Option(help="The reason; it is kept.")]
History = Annotated[bool, typer.Option("--history", help="Show what was sent again so far, by whom and why.")]


def command(
    topic: Topic = None,
    since: Since = None,
    lost_rows: Lost = False,
    service: Of = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    by: By = None,
    why: Why = "not given",
    show_history: History = False,
    json_output: Json = False,
) -> None:
    """Have the relays send outbox rows again, in their order, after Kafka has lost them or its data was deleted.

    Consumers ignore what they have applied, by their receipts; rows older than the receipts that are kept are left
    out. Rows that were set aside or discarded are left alone. Prints what it would send and asks; where nobody can
    answer, --yes is needed. Exit code 0, also if there is nothing to send.

    Example: fanout resend --lost --why "Kafka's disk was replaced"
    """
    databases = running().databases
    outboxes = databases if service is None else _only(service, databases)
    if show_history:
        _show_history(asyncio.run(history(outboxes)), json_output)
        return
    selection = asyncio.run(_select(databases, outboxes, topic, since, lost_rows))
    sent = 0
    if selection.rows:
        if not json_output:
            _show(selection.groups)
        if not dry_run and (yes or _is_confirmed(selection.rows)):
            sent = _send(outboxes, selection, Reason(by or user_name(), why))
    if json_output:
        print_json(_as_json(selection, sent))
        return
    for sentence in _sentences(selection, sent):
        print(sentence)


async def _select(
    databases: Databases, outboxes: Databases, topic: str | None, since: datetime | None, lost_rows: bool
) -> Selection:
    if lost_rows and not topic and not since:
        return await of_ids(outboxes, databases, await lost.rows(databases), "lost")
    if topic is None or since is None or lost_rows:
        raise BadUsage("what is to be sent again? --lost, or --topic TOPIC --since TIME")
    known = sorted(await lost.topics(databases))
    if topic not in known:
        near = did_you_mean(topic, known)
        raise BadUsage(f"no outbox has a row for a topic {topic}{near}; there are {', '.join(known)}")
    what = f"{topic} since {since:%Y-%m-%dT%H:%M:%SZ}"
    return await of_topic(outboxes, databases, topic, since, what)


def _only(service: str, databases: Databases) -> Databases:
    found = service_of(service, sorted(databases))
    return {found: databases[found]}


def _is_confirmed(rows: int) -> bool:
    """Asks at the terminal. Raises BadUsage where nobody can answer."""
    if not sys.stdin.isatty():
        raise BadUsage(f"nothing was changed: --yes sends {counted(rows, 'row')} again")
    return typer.confirm(f"send {counted(rows, 'row')} again?", err=True)


def _send(outboxes: Databases, selection: Selection, reason: Reason) -> int:
    with progress(console) as tell:
        return asyncio.run(
            send_again(
                outboxes,
                selection,
                reason,
                lambda done: tell(f"handed to the relays: {done:,} of {selection.rows:,} rows"),
            )
        )


def _show(groups: Iterable[Group]) -> None:
    headings = ("outbox", "topic", "type", ">rows", "first sent (UTC)", "last sent (UTC)")
    lines = (
        (each.service, each.topic, each.type, f"{each.rows:,}", _time(each.oldest), _time(each.newest))
        for each in groups
    )
    Console(highlight=False).print(table(headings, lines))


def _sentences(selection: Selection, sent: int) -> Iterable[str]:
    if selection.too_old:
        yield (
            f"{counted(selection.too_old, 'row')} older than the receipts that consumers keep: left out, as they would "
            "be applied a second time"
        )
    if sent:
        yield (
            f"handed to the relays: {counted(sent, 'row')}; fanout verify --wait 60s says when all of it has arrived"
        )
    elif selection.rows:
        yield f"nothing was changed: {counted(selection.rows, 'row')} would be sent again"
    else:
        yield "nothing to send again"


def _show_history(entries: list[Resend], json_output: bool) -> None:
    if json_output:
        print_json([asdict(entry) for entry in entries])
    elif entries:
        headings = ("at (UTC)", "outbox", "what", ">rows", "who", "why")
        lines = (
            (_time(each.at), each.service, each.what, f"{each.rows:,}", each.who, each.why)
            for each in entries
        )
        Console(highlight=False).print(table(headings, lines))
    else:
        print("nothing was sent again so far")


def _as_json(selection: Selection, sent: int) -> dict[str, object]:
    return {
        "what": selection.what,
        "rows": selection.rows,
        "sent": sent,
        "left_out": selection.too_old,
        "groups": [asdict(group) for group in selection.groups],
    }


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"
