"""`fanout stop`, `start` and `kill`: stop, start or kill single processes of the running stack."""

import os
import signal
from typing import Annotated

import typer

from fanout.completion import process_names
from fanout.console import say
from fanout.errors import BadUsage, FanoutError
from fanout.local.stack_directory import current
from fanout.local.start import probe_of
from fanout.local.supervisor import Supervisor
from fanout.local.topology import StackSpec
from fanout.names import process_of

Names = Annotated[
    list[str],
    typer.Argument(
        help="Processes as fanout status names them; fraud is fraud-worker.",
        show_default=False,
        autocompletion=process_names,
    ),
]
Name = Annotated[
    str,
    typer.Argument(
        help="A process as fanout status names it; fraud is fraud-worker.",
        show_default=False,
        autocompletion=process_names,
    ),
]


def stop(names: Names) -> None:
    """Stop processes and keep them stopped until they are started again.

    Example: fanout stop kafka registry
    """
    supervisor, found = _meant(names)
    supervisor.stop(found)
    say(f"stopped: {', '.join(found)}")


def start(names: Names) -> None:
    """Start processes and wait until they are ready.

    Example: fanout start kafka
    """
    (supervisor, found), spec = _meant(names), StackSpec.of_running()
    for name in found:
        supervisor.start(name)
    for name in found:
        supervisor.wait_ready(name, probe_of(spec, name))
    say(f"ready: {', '.join(found)}")


def kill(
    name: Name,
    signal_name: Annotated[str, typer.Option("--signal", help="KILL, TERM, STOP, CONT, ...")] = "KILL",
) -> None:
    """Send a signal to a process; if that ends it, its supervisor starts it again.

    Example: fanout kill fraud-worker
    """
    say(send(name, signal_name))


def send(name: str, signal_name: str = "KILL") -> str:
    """Sends the signal and returns what was sent to whom. Raises FanoutError if the process does not run."""
    supervisor, [found] = _meant([name])
    state = supervisor.state(found)
    if not state.pid:
        raise FanoutError(f"{found} is not running, it is {state.state}: fanout start {found}")
    number = signal_number(signal_name)
    os.kill(state.pid, number)
    return f"sent {number.name} to {found}, pid {state.pid}"


def signal_number(name: str) -> signal.Signals:
    try:
        return signal.Signals[f"SIG{name.upper().removeprefix('SIG')}"]
    except KeyError:
        raise BadUsage(f"no signal is called {name}: write KILL, TERM, STOP or CONT") from None


def _meant(names: list[str]) -> tuple[Supervisor, list[str]]:
    """Returns the running stack's supervisor and the processes; raises UnknownProcess for a name that none has."""
    supervisor = Supervisor(current())
    known = [state.name for state in supervisor.states()]
    return supervisor, list(dict.fromkeys(process_of(name, known) for name in names))
