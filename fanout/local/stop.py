"""Takes a stack down: services first, then what they use, and makes sure that no process is left.

As a program (`python -m fanout.local.stop PID`) it is the parent watch: a small process of the stack that takes it down
when the process PID is gone, however that ended.
"""

import contextlib
import os
import shutil
import signal
import sys
import time

import psutil

from fanout.errors import FanoutError
from fanout.local import postgres
from fanout.local.process import Process
from fanout.local.stack_directory import StackDirectory, current, mark_of
from fanout.local.supervisor import Supervisor

SERVERS = {"postgres", "kafka", "registry", "mailbox", "zipkin", "trace-receiver"}
"""What services use to the end: the last thing that they send is spans."""
DEADLINE_SECONDS = 60
WITHOUT_DATA_SECONDS = 10
SHUTDOWN_SECONDS = 5
PARENT_WATCH = "parent-watch"
WATCH_INTERVAL_SECONDS = 1
WAIT_SECONDS = 0.05


def take_down(directory: StackDirectory, *, at_once: bool = False) -> bool:
    """Returns False when nothing was running; afterwards nothing is. Raises FanoutError if a process cannot be ended.

    At once: nobody gets time to store anything, because the data is deleted next. Processes of a deleted directory are
    found and ended, too; they have nothing left to store, so they get less time.
    """
    supervisor = Supervisor(directory)
    if is_answering := supervisor.answers():
        left = _with_children(supervisor.pid()) + _processes(directory)
        if at_once:
            _kill(left)
        else:
            stop_in_order(supervisor)
    else:
        left = _processes(directory)
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.terminate()
    _wait_gone(left, DEADLINE_SECONDS if directory.supervisor_config.exists() else WITHOUT_DATA_SECONDS)
    directory.remove_socket()
    return is_answering or bool(left)


def require_no_silent_supervisor(directory: StackDirectory) -> None:
    """Raises FanoutError if the stack's supervisord runs and does not answer: what runs is not taken down unasked."""
    silent = [each for each in _processes(directory) if _is_supervisor(each)]
    _, alive = psutil.wait_procs(silent, timeout=SHUTDOWN_SECONDS)  # it may be just ending
    if alive:
        raise FanoutError(
            f"a stack of {directory.path} runs already, but its supervisord (pid {alive[0].pid}) does not answer at "
            f"{directory.socket}: fanout down ends it, then fanout up"
        )


def wipe(directory: StackDirectory) -> None:
    """Deletes what the stack keeps in its directory; other files there stay."""
    shutil.rmtree(postgres.data_folder(directory), ignore_errors=True)
    for folder in directory.folders:
        shutil.rmtree(folder, ignore_errors=True)
    for file in directory.files:
        file.unlink(missing_ok=True)
    for folder in (postgres.shared_folder(directory.digest), directory.path):
        with contextlib.suppress(OSError):
            folder.rmdir()


def stop_in_order(supervisor: Supervisor) -> None:
    """Stops the processes of each rank together; supervisor's own shutdown takes a second for each process."""
    names = {state.name for state in supervisor.states()} - {PARENT_WATCH}
    for rank in (names - SERVERS, names & SERVERS - {"postgres"}, names & {"postgres"}):
        supervisor.stop(rank)
    supervisor.shutdown()


def _kill(processes: list[psutil.Process]) -> None:
    """Kills them in the given order, of which supervisord is the first, so that it starts none of them again.

    Postgres is told to quit: killed, it would leave a segment of shared memory behind.
    """
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(signal.SIGQUIT if process.name() == "postgres" else signal.SIGKILL)


def _with_children(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def _processes(directory: StackDirectory) -> list[psutil.Process]:
    """Finds also processes that outlived their supervisor, by the stack's mark in their environment.

    Postgres overwrites its environment, but works in its data folder.
    """
    mark = mark_of(directory).items()
    data = os.path.realpath(postgres.data_folder(directory))
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            is_postgres = process.name() == "postgres" and process.cwd() == data
            if is_postgres or mark <= process.environ().items():
                found.append(process)
    return [process for process in found if process.pid != os.getpid()]


def _is_supervisor(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return "supervisor.supervisord" in process.cmdline()
    return False


def _wait_gone(processes: list[psutil.Process], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while any(map(_is_running, processes)) and time.monotonic() < deadline:
        time.sleep(WAIT_SECONDS)
    stuck = [process for process in processes if _is_running(process)]
    for process in stuck:
        with contextlib.suppress(psutil.Error):
            process.kill()
    _, alive = psutil.wait_procs(stuck, timeout=seconds)
    if alive:
        names = ", ".join(f"{_name(process)} (pid {process.pid})" for process in alive)
        pids = " ".join(str(process.pid) for process in alive)
        raise FanoutError(f"still alive, and not to be ended by this user: {names}: sudo kill -KILL {pids}")


def _is_running(process: psutil.Process) -> bool:
    """Returns False for a zombie as well, which has ended even if its parent never asks for the exit status."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _name(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return str(process.name())
    return "a process"


def parent_watch(owner_pid: int) -> Process:
    command = [sys.executable, "-m", "fanout.local.stop", str(owner_pid)]
    return Process(PARENT_WATCH, command, {"FANOUT_HOME": str(current().path)}, priority=1)


def main() -> None:
    _wait_for_end(int(sys.argv[1]))
    stop_in_order(Supervisor(current()))


def _wait_for_end(pid: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        owner = psutil.Process(pid)
        while _is_running(owner):
            psutil.wait_procs([owner], timeout=WATCH_INTERVAL_SECONDS)


if __name__ == "__main__":
    main()
