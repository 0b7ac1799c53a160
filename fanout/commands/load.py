"""`fanout load`: customers for a running system."""

import json
from itertools import islice
from typing import Annotated

import typer
import uvloop

from fanout.durations import seconds
from fanout.errors import BadUsage
from fanout.load.customers import PATIENCE, place_orders
from fanout.load.mix import purchases
from fanout.running import running

Orders = Annotated[
    int | None, typer.Option(min=1, help="How many orders to place; 300 unless --seconds is given.")
]
Rate = Annotated[float, typer.Option(min=0.1, max=2_000, help="Orders per second.")]
Span = Annotated[
    float | None, typer.Option("--seconds", parser=seconds, metavar="SPAN", help="Go on so long.")
]
Patient = Annotated[
    bool,
    typer.Option(
        "--patient",
        help="Ask again, with the same Idempotency-Key, what is refused or gets no good answer: "
        f"a refusal after its Retry-After, for {PATIENCE:.0f} s.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]
Seed = Annotated[int, typer.Option(help="The same seed buys the same things.")]


def command(
    orders: Orders = None,
    rate: Rate = 30.0,
    span: Span = None,
    seed: Seed = 1,
    patient: Patient = False,
    json_output: Json = False,
) -> None:
    """Place orders over REST at a steady rate: good cards, declining ones, invoices (paid), scarce products.

    Each order is sent when it is due, whatever became of the ones before it. Latencies are those of accepted
    orders, from the moment each was due. A 503 with Retry-After counts as refused.
    Exit code 1 if an order was not placed or an invoice not paid.

    Example: fanout load --rate 100 --seconds 30s --patient
    """
    if orders is not None and span is not None:
        raise BadUsage("--orders and --seconds exclude each other")
    count = orders or (300 if span is None else max(round(span * rate), 1))
    wanted = list(islice(purchases(seed), count))
    report = uvloop.run(place_orders(running().apis, wanted, rate, patient=patient))
    if json_output:
        typer.echo(json.dumps(report.as_json(), indent=2))
    else:
        for line in report.lines():
            typer.echo(line)
    if not report.complete:
        raise typer.Exit(1)
