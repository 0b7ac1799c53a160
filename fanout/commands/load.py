"""`fanout load`: places orders on a running system at a steady rate."""

from itertools import islice
from typing import Annotated

import typer
import uvloop

from fanout.console import Json, print_json
from fanout.durations import seconds
from fanout.errors import BadUsage
from fanout.load import PATIENCE, place_orders, purchases
from fanout.running import running

MOST_ORDERS = 1_000_000
"""They are all held in memory."""

Orders = Annotated[
    int | None, typer.Option(min=1, max=MOST_ORDERS, help="How many orders; 300 unless --seconds is given.")
]
Rate = Annotated[float, typer.Option(min=0.1, max=2_000, help="Orders per second.")]
Span = Annotated[float | None, typer.Option("--seconds", parser=seconds, metavar="SPAN", help="How long.")]
Patient = Annotated[bool, typer.Option("--patient", help=f"Repeat failed requests for {PATIENCE:.0f} s.")]
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
    orders, from when each was due. A 503 with Retry-After counts as refused. With --patient, refused and failed
    requests are repeated with the same Idempotency-Key, a refused one after its Retry-After.
    Exit code 1 if an order was not placed or an invoice not paid.

    Example: fanout load --rate 100 --seconds 30s --patient
    """
    if orders is not None and span is not None:
        raise BadUsage("--orders and --seconds exclude each other: give one of them")
    count = orders or (300 if span is None else max(round(span * rate), 1))
    if count > MOST_ORDERS:
        raise BadUsage(f"that is {count:,} orders, and one run places at most {MOST_ORDERS:,}: write less")
    wanted = list(islice(purchases(seed), count))
    report = uvloop.run(place_orders(running(), wanted, rate, patient=patient))
    if json_output:
        print_json(report.as_json())
    else:
        print(*report.lines(), sep="\n")
    if not report.complete:
        raise typer.Exit(1)
