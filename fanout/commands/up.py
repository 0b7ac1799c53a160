"""`fanout up`: starts the whole stack in the background and returns when it is ready."""

import time
from typing import Annotated

import typer

from fanout.console import say
from fanout.local.stack_directory import current
from fanout.local.start import bring_up
from fanout.local.topology import StackSpec


def command(
    owner_pid: Annotated[
        int | None,
        typer.Option(min=1, max=2**31 - 1, help="Take the stack down when the process with this pid ends."),
    ] = None,
) -> None:
    """Fetch what is missing, start Postgres, Kafka, the registry and all services, and wait until they are ready.

    If they run already, run new migrations, start what is new, and restart the services whose code has changed since
    they started; code that cannot be imported stops nothing.

    FANOUT_HOME names the folder for data and logs, FANOUT_PORT_BASE the first port (8000).

    Example: FANOUT_PORT_BASE=9000 fanout up
    """
    began = time.monotonic()
    with current().locked():
        bring_up(StackSpec.to_start(), owner_pid)
    say(f"everything is ready after {time.monotonic() - began:.0f} s: fanout status")
