"""`fanout demo`: starts everything, places orders, kills fraud, corrects a message, and shows that nothing was lost."""

import asyncio
from time import monotonic
from typing import Annotated
from uuid import UUID

import typer
from rich.console import Console

from fanout.commands import order, up, verify
from fanout.commands.load import MOST_ORDERS
from fanout.console import progress
from fanout.errors import NotRunning
from fanout.order_timeline import timeline
from fanout.running import Addresses, running
from fanout.scenario import Outage, Played, correct_one, outage, outcomes, play
from fanout.verify.invariants import discover
from fanout.verify.report import Report, settle
from fanout.verify.snapshot import read_facts

SETTLE_SECONDS = 90.0

Orders = Annotated[int, typer.Option(min=2, max=MOST_ORDERS, help="How many orders to place.")]
Rate = Annotated[float, typer.Option(min=1, max=500, help="Orders per second.")]


def command(orders: Orders = 1_000, rate: Rate = 100.0) -> None:
    """Start everything, place orders, kill the fraud worker meanwhile, correct a truncated message, show the ledger.

    Leaves the system running. Exit code 0 only if the ledger holds.

    Example: fanout demo
    """
    began = monotonic()
    try:
        addresses = running()
    except NotRunning:
        up.command()
        addresses = running()
    console = Console(highlight=False, soft_wrap=True)
    holds = asyncio.run(_demo(addresses, orders, rate, console))
    console.print(
        f"the demo took {monotonic() - began:.0f} s; the system is still running: fanout down stops it"
    )
    if not holds:
        raise typer.Exit(1)


async def _demo(addresses: Addresses, orders: int, rate: float, console: Console) -> bool:
    console.print(f"{orders} customers order, {rate:g} a second; fraud is killed in the middle")
    with progress(console) as tell:
        played = await play(addresses, orders, rate, tell)
        await settle(addresses.databases, SETTLE_SECONDS, lambda now: tell(_in_flight(now)))
    await _show(addresses, played, await outage(addresses.databases, played.killed_at), console)
    console.print("\n[bold]a message that cannot be decoded[/]")
    for line in await correct_one(addresses):
        console.print(line)
    report = await settle(addresses.databases, SETTLE_SECONDS)
    verify.show(report, console, accounts=True)
    console.print("\n[bold]look at it[/]")
    for service, url in addresses.apis.items():
        console.print(f"  {url}/docs  the API of {service}")
    console.print("  fanout status | lag | verify | order ORDER_ID | logs SERVICE | mailbox | dlq ls")
    console.print("[bold]break it[/]")
    console.print(
        "  fanout poison | kill WORKER | stop PROCESS | load --rate 100 --seconds 30s, then fanout verify --wait 60s"
    )
    return report.verdict != "broken" and report.settled and played.load.complete


def _in_flight(report: Report) -> str:
    behind = [
        f"{account.consumer} {len(account.in_flight)}" for account in report.accounts if account.in_flight
    ]
    return f"in flight: {', '.join(behind)}"


async def _show(addresses: Addresses, played: Played, gap: Outage | None, console: Console) -> None:
    for line in played.load.lines():
        console.print(line)
    facts = await read_facts(addresses.databases, discover())
    console.print("\n[bold]orders by outcome[/]")
    for outcome, count in outcomes(played.load.order_ids, facts).items():
        if count:
            console.print(f"{count:>6}  {outcome}")
    console.print(f"\n[bold]{gap or 'fraud has received nothing since it was killed'}[/]\n")
    # An order that was confirmed while fraud was dead tells the story best.
    examples = [*sorted(gap.unassessed if gap else ()), *played.load.order_ids]
    if examples:
        order.show(examples[0], await timeline(addresses.databases, UUID(examples[0])), console)
