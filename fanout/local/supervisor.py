"""The supervisord of one stack: its configuration, its processes and their states, and the lines they logged."""

import contextlib
import hashlib
import json
import os
import pwd
import subprocess
import sys
import time
import xmlrpc.client
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from supervisor.xmlrpc import Faults, SupervisorTransport

from fanout.environment import for_process
from fanout.errors import BadUsage, NotRunning, ProcessFailed, UnknownProcess
from fanout.local import launch
from fanout.local.process import Process
from fanout.local.stack_directory import StackDirectory, mark_of
from fanout.repository import REPOSITORY

Probe = Callable[[], bool]
"""Returns True when the process answers as it does in operation."""

SECRET = "supervisor"
INTERVAL_SECONDS = 0.2
READY_SECONDS = 90
HOPELESS_STARTS = 4

DAEMON = """\
[supervisord]
logfile = {log}
logfile_backups = 1
pidfile = {pid}
umask = 077
childlogdir = logs
{user}
[unix_http_server]
file = {socket}
chmod = 0600
username = fanout
password = {password}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""

PROGRAM = """\

[program:{process.name}]
command = /bin/sh -c '{launch}{process.name}'
environment = FANOUT_DESCRIBED="{sum}"
priority = {process.priority}
autostart = false
autorestart = true
startretries = 1000
stopsignal = {process.stop_signal}
stopwaitsecs = {process.stop_seconds}
stopasgroup = {group}
killasgroup = true
redirect_stderr = true
stdout_logfile = logs/{process.name}.log
stdout_logfile_maxbytes = 10MB
stdout_logfile_backups = 2
"""


@dataclass(frozen=True)
class State:
    """A process as supervisor sees it; `pid` is 0 when there is none, `since` is a Unix time."""

    name: str
    state: str
    pid: int
    since: int

    @property
    def is_alive(self) -> bool:
        return self.state in ("STARTING", "RUNNING")

    @property
    def is_down(self) -> bool:
        """Is False for EXITED, because supervisor starts such a process again."""
        return self.state in ("STOPPED", "FATAL")


class Supervisor:
    def __init__(self, directory: StackDirectory) -> None:
        self.directory = directory

    def launch(self) -> None:
        """Starts the daemon; none of its processes starts by itself."""
        done = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "-c", self.directory.supervisor_config.name],
            cwd=self.directory.path,
            capture_output=True,
            text=True,
            env=for_process(
                {
                    **mark_of(self.directory),
                    "FANOUT_PYTHON": sys.executable,
                    "FANOUT_LAUNCH": str(Path(launch.__file__)),
                }
            ),
            start_new_session=True,
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
        """Waits first for one that is just stopping: supervisor ignores a start of it without an error."""
        while self.state(name).state == "STOPPING":
            time.sleep(INTERVAL_SECONDS)
        with _ignoring(Faults.ALREADY_STARTED):
            self._call("startProcess", name, False)

    def wait_ready(self, name: str, is_ready: Probe) -> None:
        """Raises ProcessFailed, with the last lines of its log, if it keeps ending or is not ready after 90 s."""
        before = starts(self.directory)[name]
        deadline = time.monotonic() + READY_SECONDS
        while not (self.state(name).is_alive and is_ready()):
            if starts(self.directory)[name] - before >= HOPELESS_STARTS:
                raise ProcessFailed(name, "keeps ending", last_lines(self.directory, name))
            if time.monotonic() > deadline:
                what = f"was not ready after {READY_SECONDS} s"
                raise ProcessFailed(name, what, last_lines(self.directory, name))
            time.sleep(INTERVAL_SECONDS)

    def request_stop(self, name: str) -> None:
        """Returns at once."""
        with _ignoring(Faults.NOT_RUNNING):
            self._call("stopProcess", name, False)

    def stop(self, names: list[str] | set[str]) -> None:
        """Returns when all are down; supervisor kills a process that takes too long, so this ends."""
        while waiting := [state for state in self.states() if state.name in names and not state.is_down]:
            for state in waiting:
                if state.state != "STOPPING":
                    self.request_stop(state.name)
            time.sleep(INTERVAL_SECONDS)

    def update(self, keep: str) -> None:
        """Takes over a new configuration; of the processes that are no longer in it, only `keep` stays."""
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
        password = self.directory.passwords([SECRET])[SECRET] if self.directory.path.exists() else ""
        transport = SupervisorTransport("fanout", password, f"unix://{self.directory.socket}")
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


def starts(directory: StackDirectory) -> Counter[str]:
    """Counts the starts of each process since the stack came up, from supervisor's own log."""
    files = [file for file in directory.supervisor_logs if file.exists()]
    lines = [line for file in files for line in file.read_text().splitlines()]
    return Counter(line.split("'")[1] for line in lines if " spawned: '" in line)


def last_lines(directory: StackDirectory, name: str, count: int = 15) -> str:
    file = directory.logs / f"{name}.log"
    if not file.exists():
        return ""
    with file.open(errors="replace") as opened:
        return "".join(deque(opened, count)).rstrip()


def configuration(directory: StackDirectory, processes: list[Process], password: str) -> str:
    """Returns the text of supervisord.conf, whose paths are relative to its folder; supervisord runs there.

    The sum of a process' description makes supervisor notice that it changed.
    """
    described = descriptions(processes)
    return _daemon(directory, password) + "".join(
        PROGRAM.format(
            process=process,
            launch=launch.COMMAND,
            sum=hashlib.sha256(json.dumps(described[process.name]).encode()).hexdigest()[:16],
            group="true" if process.stop_signal == "TERM" else "false",
        )
        for process in processes
    )


def descriptions(processes: list[Process]) -> dict[str, dict[str, Any]]:
    """Returns what `launch` reads, by process."""
    return {
        process.name: {
            "command": process.command,
            "folder": str(process.folder or REPOSITORY),
            "environment": process.environment,
            "code": process.code,
        }
        for process in processes
    }


def _daemon(directory: StackDirectory, password: str) -> str:
    root = f"user = {pwd.getpwuid(0).pw_name}\n" if os.geteuid() == 0 else ""
    socket = directory.socket
    return DAEMON.format(
        log=directory.supervisor_log.name,
        pid=directory.supervisor_pid.name,
        socket=socket.name if socket.parent == directory.path else socket,
        user=root,
        password=password,
    )
