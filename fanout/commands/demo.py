"""`fanout demo`: starts everything, places orders, kills fraud, corrects a message, and shows that nothing was lost."""

import asyncio
import shutil
from time import monotonic
from typing import Annotated
from uuid import UUID

import typer
from rich.console import Console

from fanout import machine
from fanout.commands import order, up, verify
from fanout.commands.load import MOST_ORDERS
from fanout.console import console as screen
from fanout.console import progress, say
from fanout.errors import NotRunning
from fanout.machine import Load
from fanout.order_timeline import timeline
from fanout.running import Addresses, running
from fanout.scenario import Outage, Played, correct_one, outage, outcomes, play
from fanout.verify.invariants import discover
from fanout.verify.report import Report, settle
from fanout.verify.snapshot import read_facts

SETTLE_SECONDS = 90.0
HIGH_P99_SECONDS = 0.1

SUGGESTIONS = {
    "fanout kill inventory; fanout load; fanout verify --wait 60s": "break it while it works",
    "fanout poison; fanout dlq ls": "a message that nobody can read, and what becomes of it",
    "fanout new-consumer loyalty --on OrderConfirmed": "a service of your own",
}
INTERRUPTED = (
    "finishes the orders that it has accepted; fanout verify --wait 60s shows how they end, fanout demo begins again, "
    "fanout down stops everything"
)

Orders = Annotated[int, typer.Option(min=2, max=MOST_ORDERS, help="How many orders to place.")]
Rate = Annotated[float, typer.Option(min=1, max=500, help="Orders per second.")]


def command(orders: Orders = 1_000, rate: Rate = 100.0) -> None:
    """Start everything, place orders, kill the fraud worker meanwhile, correct a truncated message, show the ledger.

    Leaves the system running, also after Ctrl-C. Exit code 0 only if the ledger holds.

    Example: fanout demo
    """
    began, before = monotonic(), machine.load()
    try:
        holds = _show_all(orders, rate, before)
    except KeyboardInterrupt:
        say(up.what_runs(INTERRUPTED, again="fanout demo"))
        raise
    say(f"the demo took {monotonic() - began:.0f} s; the system is still running: fanout down stops it")
    if not holds:
        raise typer.Exit(1)


def _show_all(orders: int, rate: float, before: Load) -> bool:
    try:
        addresses = running()
    except NotRunning:
        say(
            "starting Kafka, Postgres, a schema registry, a mail server and eight services: half a minute or more"
        )
        up.start()
        addresses = running()
    return asyncio.run(_demo(addresses, orders, rate, before, Console(highlight=False, soft_wrap=True)))


async def _demo(addresses: Addresses, orders: int, rate: float, before: Load, console: Console) -> bool:
    console.print(f"{orders} customers order, {rate:g} a second; fraud is killed in the middle")
    with progress(screen) as tell:
        played = await play(addresses, orders, rate, tell, say)
        await settle(addresses.databases, SETTLE_SECONDS, lambda now: tell(_in_flight(now)))
    gap = await outage(addresses.databases, played.killed_at)
    await _show(addresses, played, gap, before, console)
    console.print("\n[bold]a message that cannot be decoded[/]")
    with progress(screen) as tell:
        corrected = await correct_one(addresses, tell)
    for line in corrected:
        console.print(line)
    with progress(screen) as tell:
        report = await settle(addresses.databases, SETTLE_SECONDS, lambda now: tell(_in_flight(now)))
    verify.show(report, console, accounts=True)
    await _suggest(addresses, played, gap, console)
    return report.verdict != "broken" and report.settled and played.load.complete


def _in_flight(report: Report) -> str:
    behind = [f"{account.consumer} {account.in_flight}" for account in report.accounts if account.in_flight]
    return f"in flight: {', '.join(behind)}" if behind else "waiting until everything is applied"


async def _show(
    addresses: Addresses, played: Played, gap: Outage | None, before: Load, console: Console
) -> None:
    for line in played.load.lines():
        console.print(line)
    why = machine.explanation(machine.load(), before)
    if why and played.load.latency(0.99) > HIGH_P99_SECONDS:
        console.print(why)
    facts = await read_facts(addresses.databases, discover())
    console.print("\n[bold]orders by outcome[/]")
    for outcome, count in outcomes(played.load.order_ids, facts).items():
        if count:
            console.print(f"{count:>6}  {outcome}")
    console.print(f"\n[bold]{gap or 'fraud has received nothing since it was killed'}[/]")


async def _suggest(addresses: Addresses, played: Played, gap: Outage | None, console: Console) -> None:
    """Shows one order, and three commands to go on with."""
    # An order that was confirmed while fraud was dead tells the story best.
    example = next(iter([*sorted(gap.unassessed if gap else ()), *played.load.order_ids]), None)
    if example:
        console.print("\n[bold]one of these orders[/]")
        order.show(example, await timeline(addresses.databases, UUID(example)), console)
    console.print("[bold]go on[/]")
    if not shutil.which("fanout"):
        console.print("  source .venv/bin/activate    # first: so that this shell finds fanout")
    for suggestion, what in SUGGESTIONS.items():
        console.print(f"  {suggestion}    # {what}")
    pages = ", ".join(f"{url}/docs ({service})" for service, url in list(addresses.apis.items())[:2])
    console.print(f"APIs to try: {pages}; all commands: fanout --help")
