"""`fanout order`: the timeline of one order."""

import asyncio
import json
from typing import Annotated
from uuid import UUID

import typer
from rich.console import Console

from fanout.errors import BadUsage, FanoutError
from fanout.running import running
from fanout.timeline.history import history
from fanout.timeline.table import as_json, show

OrderId = Annotated[str, typer.Argument(help="As POST /orders returned it.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print the timeline as JSON.")]


def command(order_id: OrderId, json_output: Json = False) -> None:
    """Show everything that services said about an order, and who applied it after how many milliseconds.

    Example: fanout order 019a2f6c-0d1e-7a3b-9c4d-5e6f70819203
    """
    wanted = _parsed(order_id)
    steps = asyncio.run(history(running().databases, wanted))
    if not steps:
        raise FanoutError(f"no service has said anything about order {wanted}")
    if json_output:
        typer.echo(json.dumps(as_json(wanted, steps), indent=2))
    else:
        show(wanted, steps, Console())


def _parsed(order_id: str) -> UUID:
    try:
        return UUID(order_id)
    except ValueError:
        raise BadUsage(f"'{order_id}' is not an order id: it is a UUID, as POST /orders returns it") from None
