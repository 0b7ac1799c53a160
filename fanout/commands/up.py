"""`fanout up`: starts the whole stack in the background and returns when it is ready."""

import time
from typing import Annotated

import typer

from fanout.console import say
from fanout.errors import NotRunning
from fanout.local.observers import PROMETHEUS, pages
from fanout.local.stack_directory import current
from fanout.local.start import bring_up
from fanout.local.topology import StackSpec
from fanout.running import running


def command(
    owner_pid: Annotated[
        int | None,
        typer.Option(min=1, max=2**31 - 1, help="Take the stack down when the process with this pid ends."),
    ] = None,
    observe: Annotated[
        bool | None,
        typer.Option(
            "--observe/--no-observe",
            help="Also start a trace viewer, the exporter and, if it is installed, Prometheus.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Fetch what is missing, start Postgres, Kafka, the registry and all services, and wait until they are ready.

    If they run already, run new migrations, start what is new, and restart the services whose code has changed since
    they started; code that cannot be imported stops nothing.

    With --observe services send their traces to the viewer, for which they are restarted if they run. That lasts until
    fanout down, or fanout up --no-observe.

    FANOUT_HOME names the folder for data and logs, FANOUT_PORT_BASE the first port (8000).

    Example: FANOUT_PORT_BASE=9000 fanout up --observe
    """
    try:
        start(owner_pid, observe)
    except KeyboardInterrupt:
        say(what_runs("it is as it was; fanout status shows it", again="fanout up"))
        raise


def what_runs(otherwise: str, again: str) -> str:
    """Returns what is true after an interrupt: that nothing runs, or that the system does, and `otherwise`."""
    try:
        running()
    except NotRunning:
        return f"stopped: nothing runs, and what was fetched is kept; {again} begins again"
    return f"stopped: the system runs, and {otherwise}"


def start(owner_pid: int | None = None, observe: bool | None = None) -> None:
    """Does what the command does, and leaves it to its caller to say what an interrupt means."""
    began = time.monotonic()
    with current().locked():
        spec = StackSpec.to_start(observe)
        bring_up(spec, owner_pid)
    _say_where_to_look(spec)
    say(f"everything is ready after {time.monotonic() - began:.0f} s: fanout status")


def _say_where_to_look(spec: StackSpec) -> None:
    """Names the pages of a stack that is observed, and that there is nobody to evaluate the alerts if that is so."""
    observers = {process.name for process in spec.observers}
    for name, page in pages(spec.ports).items():
        if name in observers:
            say(f"{name} is at {page}")
    if observers and PROMETHEUS not in observers:
        say("no Prometheus is installed here, so nobody evaluates the alerts: docs/observability.md")
