"""`fanout stop`, `start` and `kill`: stop, start or kill single processes of the running stack."""

import os
import signal
from typing import Annotated

import typer

from fanout.console import say
from fanout.errors import BadUsage, FanoutError, UnknownProcess
from fanout.local.stack_directory import current
from fanout.local.start import probe_of
from fanout.local.supervisor import Supervisor
from fanout.local.topology import StackSpec

Names = Annotated[
    list[str], typer.Argument(help="Processes as fanout status names them.", show_default=False)
]


def stop(names: Names) -> None:
    """Stop processes and keep them stopped until they are started again.

    Example: fanout stop kafka registry
    """
    _supervisor(names).stop(names)
    say(f"stopped: {', '.join(names)}")


def start(names: Names) -> None:
    """Start processes and wait until they are ready.

    Example: fanout start kafka
    """
    supervisor, spec = _supervisor(names), StackSpec.of_running()
    for name in names:
        supervisor.start(name)
    for name in names:
        supervisor.wait_ready(name, probe_of(spec, name))
    say(f"ready: {', '.join(names)}")


def kill(
    name: Annotated[str, typer.Argument(help="A process as fanout status names it.", show_default=False)],
    signal_name: Annotated[str, typer.Option("--signal", help="KILL, TERM, STOP, CONT, ...")] = "KILL",
) -> None:
    """Send a signal to a process; if that ends it, its supervisor starts it again.

    Example: fanout kill fraud-worker
    """
    state = _supervisor([name]).state(name)
    if not state.pid:
        raise FanoutError(f"{name} is not running, it is {state.state}: fanout start {name}")
    number = signal_number(signal_name)
    os.kill(state.pid, number)
    say(f"sent {number.name} to {name}, pid {state.pid}")


def signal_number(name: str) -> signal.Signals:
    try:
        return signal.Signals[f"SIG{name.upper().removeprefix('SIG')}"]
    except KeyError:
        raise BadUsage(f"no signal is called {name}: write KILL, TERM, STOP or CONT") from None


def _supervisor(names: list[str]) -> Supervisor:
    """Returns the running stack's supervisor; raises UnknownProcess for a name that it does not know."""
    supervisor = Supervisor(current())
    known = [state.name for state in supervisor.states()]
    for name in names:
        if name not in known:
            raise UnknownProcess(name, known)
    return supervisor
