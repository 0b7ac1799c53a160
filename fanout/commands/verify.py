"""`fanout verify`: is every published event applied, once, by everyone who listens?"""

import asyncio
import json
from typing import Annotated

import typer
from rich.console import Console

from fanout.durations import seconds
from fanout.held import held_partitions
from fanout.running import running
from fanout.verify.audit import audit, settle
from fanout.verify.report import Report, as_json
from fanout.verify.table import show

Wait = Annotated[
    float | None,
    typer.Option(
        parser=seconds, metavar="SPAN", help="Wait until nothing is on the way, at most so long: 60s, 2m."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the ledger as JSON.")]


def command(wait: Wait = None, json_output: Json = False) -> None:
    """Read the ledger from the databases; exit 1 if anything is lost, applied twice, violated or unreadable.

    Example: fanout verify --wait 60s
    """
    report = asyncio.run(_report(wait))
    held = asyncio.run(held_partitions(running().databases))
    if json_output:
        typer.echo(json.dumps(as_json(report) | {"held_partitions": held}, indent=2))
    else:
        show(report, Console())
        for sentence in held:
            typer.echo(sentence)
    if held or not report.holds or (wait is not None and not report.settled):
        raise typer.Exit(1)


async def _report(wait: float | None) -> Report:
    databases = running().databases
    return await audit(databases) if wait is None else await settle(databases, wait)
