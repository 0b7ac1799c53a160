"""`fanout up`: start everything in the background and return when it is ready."""

import time
from typing import Annotated

import typer

from fanout.stack.console import say


def command(
    owner_pid: Annotated[
        int | None, typer.Option(help="Take the stack down when the process with this pid ends.")
    ] = None,
) -> None:
    """Fetch what is missing, start Postgres, Kafka, the registry and all services, and wait until they are ready.

    FANOUT_HOME names the folder for data and logs, FANOUT_PORT_BASE the first port (8000).

    Example: FANOUT_PORT_BASE=9000 fanout up
    """
    from fanout.stack import lock
    from fanout.stack.blueprint import Blueprint
    from fanout.stack.home import current
    from fanout.stack.start import bring_up

    began = time.monotonic()
    with lock.held(current()):
        bring_up(Blueprint.to_start(), owner_pid)
    say(f"everything is ready after {time.monotonic() - began:.0f} s: fanout status")
