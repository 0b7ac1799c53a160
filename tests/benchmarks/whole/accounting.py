"""CPU time of every process of the running stack, from the operating system's own accounting."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil

from fanout.local.stack_directory import current
from fanout.local.supervisor import Supervisor


@dataclass
class Used:
    """CPU seconds by process name, complete once the block has ended."""

    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def total(self) -> float:
        return sum(self.seconds.values())

    def per_order(self, orders: int) -> str:
        largest = sorted(self.seconds.items(), key=lambda used: -used[1])
        shares = (f"{name} {seconds * 1000 / orders:.2f}" for name, seconds in largest if seconds > 0)
        return f"CPU ms an order: {self.total * 1000 / orders:.2f} = {', '.join(shares)}"


@contextmanager
def accounted() -> Iterator[Used]:
    """Counts what is used inside the block, also by children that came or went meanwhile."""
    used, before = Used(), _seconds()
    yield used
    used.seconds = {name: seconds - before.get(name, 0.0) for name, seconds in _seconds().items()}


def _seconds() -> dict[str, float]:
    supervisor = Supervisor(current())
    own = psutil.Process(supervisor.pid()).cpu_times()
    itself = own.user + own.system + own.children_user + own.children_system
    processes = {state.name: _of_tree(state.pid) for state in supervisor.states() if state.pid}
    return {"supervisord": itself, **processes}


def _of_tree(pid: int) -> float:
    """Children that ended are in their parent's account of children."""
    total = 0.0
    root = psutil.Process(pid)
    for process in [root, *root.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total
