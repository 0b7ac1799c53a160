"""`fanout verify`: the ledger. Is every published event applied, once, by every consumer that subscribes to it?"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from time import monotonic
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fanout import stopped
from fanout.console import LINE_SECONDS, Json, Tell, counted, print_json, progress, say, some
from fanout.console import console as stderr
from fanout.durations import seconds
from fanout.running import Addresses, running
from fanout.verify.deep import read_topics
from fanout.verify.invariants import Verdict
from fanout.verify.reconcile import Account
from fanout.verify.records import latest
from fanout.verify.report import Report, as_json, audit, settle

EXIT_CODES = {"holds": 0, "broken": 1, "waiting": 3}
COLOURS = {"holds": "green", "broken": "red", "waiting": "yellow"}

_DELETED_UNREAD = "deleted before it was read, and in no outbox"

Wait = Annotated[
    float | None,
    typer.Option(parser=seconds, metavar="SPAN", help="Wait so long until nothing is in flight."),
]
Deep = Annotated[
    bool,
    typer.Option("--deep", help="Read the topics too: payloads, offsets, order, and what no outbox has."),
]
All = Annotated[bool, typer.Option("--all", "-v", help="Also show what is well: every consumer and check.")]


def command(
    wait: Wait = None, everything: All = False, deep: Deep = False, json_output: Json = False
) -> None:
    """Print the ledger, read from the databases. Its last line is the verdict, in one sentence; so is the exit code.

    0 holds: all that was published is applied, once, and nothing is in flight or parked.
    1 broken: something was lost or applied twice, or a check, an outbox row or a partition needs you.
    3 waiting: events are in flight, or parked messages wait for your decision; --wait does not wait for those.

    Example: fanout verify --wait 60s
    """
    addresses = running()
    with progress(stderr) as show_progress:
        report = asyncio.run(_report(addresses, wait, deep, _after(LINE_SECONDS, show_progress)))
    if wait is not None and report.verdict == "waiting" and report.settled:
        say("it does not help to wait longer: nothing is in flight, and parked messages need your decision")
    if report.in_flight and (remedy := stopped.sentence("kafka")):
        say(f"what is in flight stays there: {remedy}")
    if json_output:
        print_json(as_json(report))
    else:
        show(report, Console(), accounts=everything, checks=everything)
    if code := EXIT_CODES[report.verdict]:
        raise typer.Exit(code)


async def _report(addresses: Addresses, wait: float | None, deep: bool, tell: Tell) -> Report:
    if wait is None:
        report = await audit(addresses.databases, tell=tell)
    else:
        report = await settle(addresses.databases, wait, lambda now: tell(_in_flight(now)), tell)
    if not deep:
        return report
    found = await read_topics(addresses, tell)
    say(str(found))
    return replace(report, verdicts=[*report.verdicts, *found.verdicts], topics=found.as_json)


def _in_flight(report: Report) -> str:
    counts = [f"{account.consumer} {account.in_flight}" for account in report.accounts if account.in_flight]
    return f"in flight: {', '.join(counts) or report.in_flight}"


def _after(seconds: float, tell: Tell) -> Tell:
    """Returns a function that shows progress only of what takes longer."""
    began = monotonic()
    return lambda text: tell(text) if monotonic() - began >= seconds else None


def show(report: Report, console: Console, accounts: bool = False, checks: bool = False) -> None:
    """Prints the accounts and checks that need attention, one line that counts all others, and the verdict.

    With `accounts`, every consumer is in the table; with `checks`, every check has its line.
    """
    waiting = {consumer for consumers in report.waiting.values() for consumer in consumers}
    unwell = [each for each in report.accounts if accounts or each.consumer in waiting or not _is_well(each)]
    if unwell:
        console.print(_accounts(unwell))
    for line in _findings(report):
        console.print(line, highlight=False, soft_wrap=True)
    for verdict in report.verdicts:
        if checks or verdict.offenders or verdict.pending:
            console.print(_verdict(verdict), highlight=False, soft_wrap=True)
    if not accounts and (well := [account for account in report.accounts if account not in unwell]):
        console.print(_well(well, rest=bool(unwell)), highlight=False, soft_wrap=True)
    pending = sum(bool(verdict.pending and not verdict.offenders) for verdict in report.verdicts)
    ok = len(report.verdicts) - report.violated - pending
    console.print(
        f"{len(report.verdicts)} checks: {ok} ok, {pending} pending, {report.violated} violated",
        highlight=False,
    )
    console.print(report.conclusion, style=COLOURS[report.verdict], highlight=False, soft_wrap=True)


def _is_well(account: Account) -> bool:
    return not (account.in_flight or account.lost or account.excess or account.deficit)


def _well(accounts: Sequence[Account], rest: bool) -> str:
    consumers = counted(len(accounts), f"{'other ' * rest}consumer")
    published, applied, parked, duplicates = (
        sum(getattr(account, name) for account in accounts)
        for name in ("published", "applied", "parked", "duplicates")
    )
    outcome = "all applied once" if not parked else f"{applied} applied once, {parked} parked and decided"
    repeats = "was a repeat" if duplicates == 1 else "were repeats"
    again = f"; {duplicates} more {repeats}, and ignored" * bool(duplicates)
    return f"{consumers}: {counted(published, 'delivery', 'deliveries')}, {outcome}{again}"


def _accounts(accounts: Iterable[Account]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    table.add_column("consumer")
    for heading in (
        "published",
        "=\napplied",
        "+ in\nflight",
        "+\nparked",
        "lost",
        "applied\ntwice",
        "re-\ndelivered",
        "unknown\nproducer\nparked",
    ):
        table.add_column(heading, justify="right")
    for account in accounts:
        figures = (
            account.published,
            account.applied,
            account.in_flight,
            account.parked,
            account.lost + account.deficit,
            account.excess,
            account.duplicates,
            account.unknown_producer_parked,
        )
        table.add_row(account.consumer, *map(str, figures))
    return table


def _findings(report: Report) -> Iterable[str]:
    if since := latest(account.since for account in report.accounts):
        yield f"rows from before {since:%Y-%m-%d %H:%M:%S} UTC were deleted: such events are left out"
    for account in report.accounts:
        if account.lost:
            events = [f"{event.type} of {event.order_id}" for event in account.lost_events]
            yield f"[red]{account.consumer} lost {account.lost}:[/] {escape(some(events) or _DELETED_UNREAD)}"
        if account.deficit:
            yield f"[red]{account.consumer} has {counted(account.deficit, 'receipt')} without an application[/]"
        if account.excess:
            yield f"[red]{account.consumer} applied {counted(account.excess, 'event')} more than it has receipts for[/]"
        for each in account.partitions:
            if each.excess:
                more = "more" if each.excess > 0 else "fewer"
                yield f"  in {each.partition} it applied {abs(each.excess)} {more} than it has receipts for"
        if account.stalled_seconds is not None:
            yield f"[yellow]{account.consumer} stalled for {account.stalled_seconds:.0f} s[/]: {_waits_in(account)}"
    if report.ignored:
        by_type = [
            f"{event_type} {events} ({consumer})"
            for event_type, consumers in report.ignored.items()
            for consumer, events in consumers.items()
        ]
        total = sum(sum(consumers.values()) for consumers in report.ignored.values())
        ignored = counted(total, "event")
        yield f"ignored {ignored} of types that the consumer's release does not know: {', '.join(by_type)}"
    for service, rows in report.unpublished.items():
        if rows:
            are = "is" if rows == 1 else "are"
            yield f"{service}: {counted(rows, 'row')} of its outbox {are} not yet in Kafka"
    for row in report.set_aside:
        yield f"[red]{row} cannot be sent:[/] {escape(row.error)}: fanout outbox show {row.service} {row.id}"
    for row in report.refused:
        if row.is_discarded:
            yield f"{row} was discarded: no consumer receives it"
    for what, consumers in report.waiting.items():
        if consumers:
            number = ", ".join(f"{consumer} {count}" for consumer, count in sorted(consumers.items()))
            yield f"{what}: {number}"
    if report.unfinished_orders:
        yield f"orders that wait for a message that was parked: {escape(some(report.unfinished_orders))}"
    for sentence in report.held:
        yield f"[red]{escape(sentence)}[/]"
    if report.forwarded:
        are, their = ("is", "its") if report.forwarded == 1 else ("are", "their")
        letters = counted(report.forwarded, "dead letter")
        yield f"{letters} {are} in flight: not stored yet, or not yet back at {their} consumer"


def _waits_in(account: Account) -> str:
    waiting = [f"{each.partition} {each.in_flight}" for each in account.partitions if each.in_flight]
    return f"it has received nothing meanwhile; in flight in {some(waiting)}"


def _verdict(verdict: Verdict) -> str:
    sentence = escape(verdict.sentence)
    if verdict.offenders:
        return f"[red]violated[/]  {sentence}: {verdict.offending}, {escape(some(verdict.offenders))}"
    if verdict.pending:
        return f"[yellow]pending[/]   {sentence}: {len(verdict.pending)}"
    return f"[green]ok[/]        {sentence}"
