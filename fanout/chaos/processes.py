"""Faults of processes of the local stack: killed, stopped by signals, or taken down and started again."""

import asyncio
import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

import psutil

from fanout.chaos.injection import CannotBegin, Injection
from fanout.errors import NotRunning
from fanout.local.stack_directory import current
from fanout.local.start import probe_of
from fanout.local.stop import PARENT_WATCH
from fanout.local.supervisor import INTERVAL_SECONDS, State, Supervisor
from fanout.local.topology import StackSpec

SERVERS = {"broker-down": "kafka", "database-down": "postgres", "registry-down": "registry"}
SLOW_PERIOD_SECONDS = 0.5


def all_names() -> list[str]:
    """Returns every process of the stack but the supervisor."""
    return [state.name for state in Supervisor(current()).states() if state.name != PARENT_WATCH]


class Kill(Injection):
    """Kills a process `times` times, spread over the seconds; supervisor starts it again each time."""

    def __init__(self, name: str, times: int, seconds: float) -> None:
        super().__init__()
        self.met = {"killed": 0}
        self._name, self._times, self._pause = name, times, seconds / times

    async def begin(self) -> None:
        self._kill(_required(self._name))

    async def keep(self) -> None:
        for _ in range(1, self._times):
            await asyncio.sleep(self._pause)
            self._kill(Supervisor(current()).state(self._name))

    def _kill(self, state: State) -> None:
        if state.pid:  # it may be just starting again
            with suppress(ProcessLookupError):
                os.kill(state.pid, signal.SIGKILL)
                self.met["killed"] += 1


class Pause(Injection):
    """Stops processes, with those that they started, by SIGSTOP."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self._names = names

    async def begin(self) -> None:
        if len(self._names) == 1:
            _required(self._names[0])
        _send(signal.SIGSTOP, self._names)

    async def end(self) -> None:
        _send(signal.SIGCONT, self._names)


class Slow(Pause):
    """Stops a process for a share of every half second."""

    def __init__(self, name: str, stopped: float) -> None:
        super().__init__([name])
        self._stopped = stopped * SLOW_PERIOD_SECONDS

    async def keep(self) -> None:
        while True:
            _send(signal.SIGSTOP, self._names)
            await asyncio.sleep(self._stopped)
            _send(signal.SIGCONT, self._names)
            await asyncio.sleep(SLOW_PERIOD_SECONDS - self._stopped)


class Down(Injection):
    """Stops a server of the stack in order, and starts it again."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    async def begin(self) -> None:
        supervisor = Supervisor(current())
        if supervisor.state(self._name).is_down:
            raise CannotBegin(f"{self._name} is stopped already: fanout start {self._name}")
        supervisor.request_stop(self._name)  # once: whoever repeats it may stop what `end` has just started
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            if supervisor.state(self._name).is_down:
                return

    async def end(self) -> None:
        await asyncio.to_thread(self._start)

    def _start(self) -> None:
        supervisor = Supervisor(current())
        with suppress(NotRunning):  # the whole stack was taken down meanwhile
            supervisor.start(self._name)
            supervisor.wait_ready(self._name, probe_of(StackSpec.of_running(), self._name))


def _required(name: str) -> State:
    state = Supervisor(current()).state(name)
    if not state.pid:
        raise CannotBegin(f"{name} does not run, it is {state.state}: fanout start {name}")
    return state


def _send(number: signal.Signals, names: Iterable[str]) -> None:
    """Sends the signal to the processes as they are now; one that ends meanwhile, as Postgres' do, needs none."""
    for process in _with_children(names):
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _with_children(names: Iterable[str]) -> Iterator[psutil.Process]:
    try:
        states = Supervisor(current()).states()
    except NotRunning:
        return
    for state in states:
        if state.name in names and state.pid:
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(state.pid)
                yield from (process, *process.children(recursive=True))
