"""`fanout order`: the timeline of one order across services: its events, and which consumer applied them how soon."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.console import Console

from fanout import order_tree
from fanout.console import Json, print_json, table
from fanout.errors import BadUsage, FanoutError
from fanout.order_timeline import Step, milliseconds, timeline
from fanout.running import running

OrderId = Annotated[str, typer.Argument(help="As POST /orders returned it.", show_default=False)]


Tree = Annotated[
    bool, typer.Option("--tree", help="What led to what, where it waited, and what was parked and redriven.")
]


def command(order_id: OrderId, tree: Tree = False, json_output: Json = False) -> None:
    """Show every event of an order, and which consumer applied it after how many milliseconds.

    The last line is where its trace is shown, if the stack was started with fanout up --observe.

    Example: fanout order 019a2f6c-0d1e-7a3b-9c4d-5e6f70819203 --tree
    """
    wanted, addresses = parsed(order_id), running()
    steps = asyncio.run(timeline(addresses.databases, wanted))
    if not steps:
        raise FanoutError(f"no service has published an event of order {wanted}")
    if tree:
        roots = order_tree.arranged(steps)
        if json_output:
            print_json(order_tree.as_json(wanted, roots))
        else:
            order_tree.show(wanted, roots, Console())
    elif json_output:
        print_json(as_json(wanted, steps))
    else:
        show(wanted, steps, Console())
    if addresses.traces and not json_output:
        for trace_id in dict.fromkeys(step.event.trace_id for step in steps if step.event.trace_id):
            print(f"trace: {addresses.traces}{trace_id}")


def parsed(order_id: str) -> UUID:
    try:
        return UUID(order_id)
    except ValueError:
        raise BadUsage(f"'{order_id}' is not an order id: it is a UUID, as POST /orders returns it") from None


def show(order_id: object, steps: Sequence[Step], console: Console) -> None:
    placed_at = steps[0].event.created_at
    console.print(f"order {order_id}, placed {placed_at:%Y-%m-%d %H:%M:%S} UTC", highlight=False)
    rows = [row for each in steps for row in _rows(each, placed_at)]
    console.print(table((">after", "service", "event", "applied by", ">ms later"), rows, unbroken=("after",)))


def _rows(step: Step, placed_at: datetime) -> Iterator[tuple[object, ...]]:
    """Yields a line for each consumer; the event is named in the first."""
    consumers: list[tuple[str, object]] = [
        (each.consumer + ("" if each.status == "applied" else f" ({each.status})"), step.milliseconds(each))
        for each in step.received
    ]
    consumers += [(name, "not yet") for name in step.waiting]
    event = f"{milliseconds(placed_at, step.event.created_at)} ms", step.event.service, step.event.type
    for number, consumer in enumerate(consumers or [("", "")]):
        yield *(("", "", "") if number else event), *consumer


def as_json(order_id: object, steps: Iterable[Step]) -> dict[str, Any]:
    def received(step: Step) -> list[dict[str, Any]]:
        return [
            {"consumer": each.consumer, "status": each.status, "milliseconds": step.milliseconds(each)}
            for each in step.received
        ]

    events = [
        asdict(step.event) | {"received": received(step), "waiting": list(step.waiting)} for step in steps
    ]
    return {"order_id": order_id, "events": events}
