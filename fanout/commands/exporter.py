"""`fanout exporter`: lag, outboxes, dead letters and orders as Prometheus metrics."""

from typing import Annotated

import typer

from fanout.console import say
from fanout.lag.exporter import serve
from fanout.local.ports import HOST
from fanout.running import running

PORT = 9308

Port = Annotated[int, typer.Option(min=1, max=65535, help="Where it listens.")]
Host = Annotated[str, typer.Option(help="The address on which it listens.")]


def command(port: Port = PORT, host: Host = HOST) -> None:
    """Serve /metrics for Prometheus: lag and headroom of each group, outboxes, dead letters, orders.

    Measures when it is asked. Needs no worker to be alive, and changes nothing.

    Example: fanout exporter --port 9308
    """
    addresses = running()
    say(f"metrics at http://{host}:{port}/metrics")
    serve(addresses.broker, addresses.databases, host, port)
