"""`fanout load`: places orders on a running system at a steady rate."""

import asyncio
from collections.abc import Sequence
from itertools import islice
from typing import Annotated

import typer
import uvloop

from fanout.console import Json, console, counted, print_json, progress, say
from fanout.durations import seconds
from fanout.errors import BadUsage
from fanout.load import PATIENCE, LoadReport, Placement, Purchase, place_orders, purchases
from fanout.running import Addresses, in_container, running

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
    An invoice can be paid once payments has received its order. While Kafka is down it waits, for 30 s at most.
    Exit code 1 if an order was not placed, or the payment of an invoice failed. One that waits has not failed.

    Example: fanout load --rate 100 --seconds 30s --patient
    """
    if orders is not None and span is not None:
        raise BadUsage("--orders and --seconds exclude each other: give one of them")
    count = orders or (300 if span is None else max(round(span * rate), 1))
    if count > MOST_ORDERS:
        raise BadUsage(f"that is {count:,} orders, and one run places at most {MOST_ORDERS:,}: write less")
    wanted = list(islice(purchases(seed), count))
    addresses, accepted = running(), list[Placement]()
    try:
        report, kafka_answers = uvloop.run(_place(addresses, wanted, rate, patient, accepted))
    except KeyboardInterrupt:
        say(
            f"stopped; {counted(len(accepted), 'order')} of {count} accepted, and the system goes on with them"
        )
        raise
    if json_output:
        print_json(report.as_json())
    else:
        print(*report.lines(), sep="\n")
        if report.waiting:
            print(waiting_line(report.waiting, kafka_answers))
    if not report.is_good:
        raise typer.Exit(1)


async def _place(
    addresses: Addresses, wanted: Sequence[Purchase], rate: float, patient: bool, accepted: list[Placement]
) -> tuple[LoadReport, bool]:
    """Returns also whether Kafka answers at the end; `accepted` gets what is accepted.

    Shows progress on a terminal; elsewhere only that invoices wait for Kafka, which takes so long.
    """
    answered = 0
    with progress(console) as tell:

        def watch(placement: Placement) -> None:
            nonlocal answered
            answered += 1
            if placement.state == "ok":
                accepted.append(placement)
            if console.is_terminal:
                tell(f"{answered} of {counted(len(wanted), 'order')} answered")

        async def watch_invoices(count: int) -> None:
            kafka_answers = await _answers(addresses.kafka)
            if console.is_terminal or not kafka_answers:
                tell(f"{counted(count, 'invoice')} {_waits_for(count, kafka_answers)}")

        report = await place_orders(
            addresses, wanted, rate, patient=patient, watch=watch, watch_invoices=watch_invoices
        )
    return report, await _answers(addresses.kafka)


async def _answers(address: str) -> bool:
    """Returns True if something listens at the address of the broker."""
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(1):
            _, writer = await asyncio.open_connection(host, int(port))
    except (OSError, ValueError):
        return False
    writer.close()
    return True


def waiting_line(count: int, kafka_answers: bool) -> str:
    """Returns what is true of invoices that were not paid because payments has not received their orders."""
    waiting = f"{counted(count, 'invoice')} {_waits_for(count, kafka_answers)}"
    orders = "the order is accepted" if count == 1 else "the orders are accepted"
    if kafka_answers:
        return f"{waiting}: {orders}, and can be paid when payments has received them: fanout lag"
    remedy = "docker compose up --wait kafka" if in_container() else "fanout start kafka"
    return f"{waiting}: {orders}, and can be paid when it is back: {remedy}"


def _waits_for(count: int, kafka_answers: bool) -> str:
    return f"{'waits' if count == 1 else 'wait'} for {'payments' if kafka_answers else 'Kafka'}"
