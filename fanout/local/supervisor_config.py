"""The supervisord.conf of one stack."""

import os
import pwd
import shlex

from fanout.local.process import Process
from fanout.local.stack_directory import StackDirectory
from fanout.repository import REPOSITORY

DAEMON = """\
[supervisord]
logfile = {log}
logfile_backups = 1
pidfile = {pid}
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
command = {command}
directory = {folder}
environment = {environment}
priority = {process.priority}
autostart = false
autorestart = true
startretries = 1000
stopsignal = {process.stop_signal}
stopwaitsecs = {process.stop_seconds}
stopasgroup = {group}
killasgroup = true
redirect_stderr = true
stdout_logfile = {log}
stdout_logfile_maxbytes = 10MB
stdout_logfile_backups = 2
"""


def render(home: StackDirectory, processes: list[Process], password: str) -> str:
    return _daemon(home, password) + "".join(_program(home, process) for process in processes)


def _daemon(home: StackDirectory, password: str) -> str:
    root = f"user = {pwd.getpwuid(0).pw_name}\n" if os.geteuid() == 0 else ""
    log, pid, socket = map(_escaped, map(str, (home.supervisor_log, home.supervisor_pid, home.socket)))
    return DAEMON.format(log=log, pid=pid, socket=socket, user=root, password=password)


def _program(home: StackDirectory, process: Process) -> str:
    return PROGRAM.format(
        process=process,
        command=_escaped(shlex.join(process.command)),
        folder=_escaped(str(process.folder or REPOSITORY)),
        environment=_escaped(",".join(f'{name}="{value}"' for name, value in process.environment.items())),
        group="true" if process.stop_signal == "TERM" else "false",
        log=_escaped(_escaped(str(home.logs / f"{process.name}.log"))),  # supervisor expands this one twice
    )


def _escaped(value: str) -> str:
    """Supervisor expands % like Python does."""
    return value.replace("%", "%%")
