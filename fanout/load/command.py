"""`fanout load`: customers for a running system."""

import asyncio
from itertools import islice
from typing import Annotated

import typer

from fanout.addresses import running
from fanout.durations import seconds
from fanout.errors import BadUsage
from fanout.load.customers import place_orders
from fanout.load.mix import purchases

Orders = Annotated[
    int | None, typer.Option(min=1, help="How many orders to place; 300 unless --seconds is given.")
]
Rate = Annotated[float, typer.Option(min=0.1, max=2_000, help="Orders per second.")]
Span = Annotated[
    float | None, typer.Option("--seconds", parser=seconds, metavar="SPAN", help="Go on so long.")
]
Seed = Annotated[int, typer.Option(help="The same seed buys the same things.")]


def command(orders: Orders = None, rate: Rate = 30.0, span: Span = None, seed: Seed = 1) -> None:
    """Place orders over REST at a steady rate: good cards, declining ones, invoices (paid), scarce products.

    Exit code 1 if an order was not placed or an invoice not paid.

    Example: fanout load --orders 300 --rate 30
    """
    if orders is not None and span is not None:
        raise BadUsage("--orders and --seconds exclude each other")
    count = orders or (300 if span is None else max(round(span * rate), 1))
    report = asyncio.run(place_orders(running().apis, list(islice(purchases(seed), count)), rate))
    for line in report.lines():
        typer.echo(line)
    if not report.complete:
        raise typer.Exit(1)
