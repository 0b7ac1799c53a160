"""When is a process ready: it did, once, what it is there for. Polled with a deadline, never assumed after a time."""

import time

from fanout.errors import ProcessFailed
from fanout.local.history import last_lines, spawned
from fanout.local.probes import Probe
from fanout.local.supervisor import Supervisor

DEADLINE_SECONDS = 90
INTERVAL_SECONDS = 0.2
HOPELESS_STARTS = 4


def start(supervisor: Supervisor, name: str, is_ready: Probe) -> None:
    """Returns when the process is ready."""
    supervisor.start(name)
    wait_ready(supervisor, name, is_ready)


def wait_ready(supervisor: Supervisor, name: str, is_ready: Probe) -> None:
    """Fails with the process' last log lines when it keeps ending or does not become ready."""
    starts = spawned(supervisor.home, name)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (supervisor.state(name).is_alive and is_ready()):
        if spawned(supervisor.home, name) - starts >= HOPELESS_STARTS:
            raise ProcessFailed(name, "keeps ending", last_lines(supervisor.home, name))
        if time.monotonic() > deadline:
            what = f"was not ready after {DEADLINE_SECONDS} s"
            raise ProcessFailed(name, what, last_lines(supervisor.home, name))
        time.sleep(INTERVAL_SECONDS)


def stop(supervisor: Supervisor, names: set[str]) -> None:
    """Returns when they are down; supervisor kills one that takes too long, so this ends."""
    while waiting := [state for state in supervisor.states() if state.name in names and not state.is_down]:
        for state in waiting:
            if state.state != "STOPPING":
                supervisor.stop(state.name)
        time.sleep(INTERVAL_SECONDS)
