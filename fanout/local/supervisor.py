"""Talks to the supervisord of one home: start it, ask it, end it."""

import contextlib
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from supervisor.xmlrpc import Faults, SupervisorTransport

from fanout.errors import BadUsage, NotRunning, ProcessFailed, UnknownProcess
from fanout.local.process import environment
from fanout.local.stack_directory import StackDirectory

SECRET = "supervisor"
STOPPING_SECONDS = 0.1


@dataclass(frozen=True)
class State:
    """What supervisor knows of a process; `pid` is 0 when there is none, `since` is a Unix time."""

    name: str
    state: str
    pid: int
    since: int

    @property
    def is_alive(self) -> bool:
        return self.state in ("STARTING", "RUNNING")

    @property
    def is_down(self) -> bool:
        """For good: one that only EXITED is started again."""
        return self.state in ("STOPPED", "FATAL")


class Supervisor:
    def __init__(self, home: StackDirectory) -> None:
        self.home = home

    def launch(self) -> None:
        """Start the daemon; none of its processes starts by itself."""
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(self.home.supervisor_config)]
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment({}), start_new_session=True
        )
        if done.returncode != 0:
            raise ProcessFailed("supervisord", "did not start", done.stdout + done.stderr)

    def answers(self) -> bool:
        try:
            self._call("getState")
        except NotRunning:
            return False
        return True

    def pid(self) -> int:
        return cast(int, self._call("getPID"))

    def states(self) -> list[State]:
        infos = cast(list[dict[str, Any]], self._call("getAllProcessInfo"))
        return [State(info["name"], info["statename"], info["pid"], info["start"]) for info in infos]

    def state(self, name: str) -> State:
        states = {state.name: state for state in self.states()}
        if name not in states:
            raise UnknownProcess(name, list(states))
        return states[name]

    def start(self, name: str) -> None:
        """Of one that is just stopping supervisor would forget it without a word, so that is waited for."""
        while self.state(name).state == "STOPPING":
            time.sleep(STOPPING_SECONDS)
        with _ignoring(Faults.ALREADY_STARTED):
            self._call("startProcess", name, False)

    def stop(self, name: str) -> None:
        with _ignoring(Faults.NOT_RUNNING):
            self._call("stopProcess", name, False)

    def update(self, keep: str) -> None:
        """Take over what changed in the configuration: new, other and vanished processes, but `keep` stays."""
        [[added, changed, removed]] = cast(list[list[list[str]]], self._call("reloadConfig"))
        for name in changed + [name for name in removed if name != keep]:
            with _ignoring(Faults.NOT_RUNNING):
                self._call("stopProcess", name)
            self._call("removeProcessGroup", name)
        for name in added + changed:
            self._call("addProcessGroup", name)

    def shutdown(self) -> None:
        self._call("shutdown")

    def _call(self, method: str, *arguments: object) -> object:
        password = self.home.passwords([SECRET])[SECRET] if self.home.path.exists() else ""
        transport = SupervisorTransport("fanout", password, f"unix://{self.home.socket}")
        server = xmlrpc.client.ServerProxy(
            "http://127.0.0.1", transport=cast(xmlrpc.client.Transport, transport)
        )
        try:
            return cast(Callable[..., object], getattr(server.supervisor, method))(*arguments)
        except (OSError, EOFError) as error:
            raise NotRunning from error
        except xmlrpc.client.Fault as error:
            if error.faultCode == Faults.SHUTDOWN_STATE:
                raise BadUsage("the system is just being stopped: try again when it is") from error
            raise
        finally:
            transport.close()


@contextlib.contextmanager
def _ignoring(fault: int) -> Any:
    try:
        yield
    except xmlrpc.client.Fault as error:
        if error.faultCode != fault:
            raise
