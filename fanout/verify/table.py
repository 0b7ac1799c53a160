"""The ledger for people: one row a consumer, one line a check, and the sentence at the end."""

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fanout.verify.horizon import latest
from fanout.verify.invariants import Verdict
from fanout.verify.reconcile import Account
from fanout.verify.report import Report

SHOWN = 10
HEADINGS = (
    "published",
    "=\napplied",
    "+ on\nthe way",
    "+\nparked",
    "lost",
    "twice",
    "re-\ndelivered",
    "foreign\nparked",
)


def show(report: Report, console: Console, checks: bool = True) -> None:
    """`checks` also lists those that hold, one a line."""
    console.print(_accounts(report.accounts))
    for line in _findings(report):
        console.print(line, highlight=False, soft_wrap=True)
    for verdict in report.verdicts:
        if checks or verdict.offenders or verdict.pending:
            console.print(_verdict(verdict), highlight=False, soft_wrap=True)
    console.print(_summary(report.verdicts), highlight=False)
    console.print(report.conclusion, style=_colour(report), highlight=False)


def _accounts(accounts: Sequence[Account]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    table.add_column("consumer")
    for heading in HEADINGS:
        table.add_column(heading, justify="right")
    for account in accounts:
        table.add_row(account.consumer, *map(str, _figures(account)))
    return table


def _figures(account: Account) -> Iterable[int]:
    yield account.published
    yield account.applied
    yield len(account.on_the_way)
    yield account.parked
    yield len(account.lost) + max(-account.surplus, 0)
    yield max(account.surplus, 0)
    yield account.duplicates
    yield account.foreign_parked


def _findings(report: Report) -> Iterable[str]:
    if since := latest(account.since for account in report.accounts):
        yield f"rows from before {since:%Y-%m-%d %H:%M:%S} UTC were deleted: such events are left out"
    for account in report.accounts:
        if account.lost:
            events = [f"{event.type} of {event.order_id}" for event in account.lost]
            yield f"[red]{account.consumer} lost {len(events)}:[/] {_some(events)}"
        if account.surplus < 0:
            yield f"[red]{account.consumer} has {-account.surplus} receipts without an application[/]"
        if account.surplus > 0:
            yield f"[red]{account.consumer} applied {account.surplus} more events than it has receipts for[/]"
    for service, rows in report.unpublished.items():
        if rows:
            yield f"{service}: {rows} rows of its outbox are not yet in Kafka"
    for row in report.set_aside:
        yield f"[red]{row} cannot be sent:[/] {escape(row.error)}: fanout outbox show {row.service} {row.id}"
    for row in report.refused:
        if row.is_discarded:
            yield f"{row} was discarded: no consumer hears of it"
    for what, consumers in report.waiting.items():
        if consumers:
            number = ", ".join(f"{consumer} {count}" for consumer, count in sorted(consumers.items()))
            yield f"{what}: {number}"
    if report.unfinished_orders:
        yield f"orders that wait for what is parked: {_some(report.unfinished_orders)}"
    if report.forwarded:
        yield f"{report.forwarded} dead letters are on their way, to be filed or back to their consumer"


def _verdict(verdict: Verdict) -> str:
    sentence = escape(verdict.sentence)
    if verdict.offenders:
        return f"[red]violated[/]  {sentence}: {len(verdict.offenders)}, {_some(verdict.offenders)}"
    if verdict.pending:
        return f"[yellow]pending[/]   {sentence}: {len(verdict.pending)}"
    return f"[green]ok[/]        {sentence}"


def _summary(verdicts: Sequence[Verdict]) -> str:
    violated = sum(bool(verdict.offenders) for verdict in verdicts)
    pending = sum(bool(verdict.pending and not verdict.offenders) for verdict in verdicts)
    return f"{len(verdicts)} checks: {len(verdicts) - violated - pending} ok, {pending} pending, {violated} violated"


def _some(ids: Sequence[str]) -> str:
    return escape(", ".join(ids[:SHOWN])) + (", …" if len(ids) > SHOWN else "")


def _colour(report: Report) -> str:
    if not report.holds:
        return "red"
    return "green" if report.settled and not report.waits else "yellow"
