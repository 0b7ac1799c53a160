"""`fanout demo`: start everything, sell, kill fraud, mend a message, and show that nothing was lost or doubled."""

import asyncio
from time import monotonic
from typing import Annotated
from uuid import UUID

import typer
from rich.console import Console

from fanout.commands import up
from fanout.demo.mending import mend_one
from fanout.demo.outage import Outage, outage
from fanout.demo.outcomes import outcomes
from fanout.demo.scenario import Played, play
from fanout.demo.ticker import Ticker
from fanout.errors import NotRunning
from fanout.running import Addresses, running
from fanout.timeline import table as timeline
from fanout.timeline.history import history
from fanout.verify import table as ledger
from fanout.verify.audit import settle
from fanout.verify.checkfile import discover
from fanout.verify.report import Report
from fanout.verify.snapshot import stated

SETTLE_SECONDS = 90.0

Orders = Annotated[int, typer.Option(min=2, help="How many orders to place.")]
Rate = Annotated[float, typer.Option(min=1, max=500, help="Orders per second.")]


def command(orders: Orders = 1_000, rate: Rate = 100.0) -> None:
    """Start everything, place orders, kill the fraud worker in the middle, mend a message, show what became of it all.

    Leaves the system running. Exit code 0 only if the ledger holds.

    Example: fanout demo
    """
    began = monotonic()
    addresses = _brought_up()
    console = Console(highlight=False, soft_wrap=True)
    holds = asyncio.run(_demo(addresses, orders, rate, console))
    console.print(
        f"the demo took {monotonic() - began:.0f} s; the system is still running: fanout down stops it"
    )
    if not holds:
        raise typer.Exit(1)


def _brought_up() -> Addresses:
    try:
        return running()
    except NotRunning:
        up.command()
        return running()


async def _demo(addresses: Addresses, orders: int, rate: float, console: Console) -> bool:
    console.print(f"{orders} customers order, {rate:g} a second; fraud is killed in the middle")
    with Ticker(console) as ticker:
        played = await play(addresses, orders, rate, ticker.tell)
        await settle(addresses.databases, SETTLE_SECONDS, lambda now: ticker.tell(_waiting(now)))
    silence = await outage(addresses.databases, played.killed_at)
    await _show(addresses, played, silence, console)
    console.print("\n[bold]a message that nobody can read[/]")
    for line in (await mend_one(addresses)).lines():
        console.print(line)
    report = await settle(addresses.databases, SETTLE_SECONDS)
    ledger.show(report, console, checks=False)
    _show_next_steps(addresses, console)
    return report.holds and report.settled and played.load.complete


def _waiting(report: Report) -> str:
    late = [
        f"{account.consumer} {len(account.on_the_way)}" for account in report.accounts if account.on_the_way
    ]
    return f"on the way: {', '.join(late)}"


async def _show(addresses: Addresses, played: Played, silence: Outage | None, console: Console) -> None:
    for line in played.load.lines():
        console.print(line)
    facts = await stated(addresses.databases, discover())
    console.print("\n[bold]orders by outcome[/]")
    for line in outcomes(played.load.order_ids, facts).lines():
        console.print(line)
    console.print(f"\n[bold]{silence or 'fraud has received nothing since it was killed'}[/]\n")
    if example := _example(played, silence):
        timeline.show(example, await history(addresses.databases, UUID(example)), console)


def _example(played: Played, silence: Outage | None) -> str | None:
    """An order that was confirmed without fraud tells the story best."""
    return next(iter([*sorted(silence.unassessed if silence else ()), *played.load.order_ids]), None)


def _show_next_steps(addresses: Addresses, console: Console) -> None:
    console.print("\n[bold]look at it[/]")
    for service, url in addresses.apis.items():
        console.print(f"  {url}/docs  the API of {service}")
    console.print("  fanout status | lag | verify | order ORDER_ID | logs SERVICE | mailbox | dlq ls")
    console.print("[bold]break it[/]")
    console.print(
        "  fanout poison | kill WORKER | stop PROCESS | load --rate 100 --seconds 30s, then fanout verify --wait 60s"
    )
