"""Takes a stack down: services first, then what they use, and makes sure that no process is left.

As a program (`python -m fanout.local.stop PID`) it is the parent watch: a small process of the stack that takes it down
when the process PID is gone, however that ended.
"""

import contextlib
import shutil
import sys

import psutil

from fanout.local import postgres
from fanout.local.process import Process
from fanout.local.stack_directory import StackDirectory, current
from fanout.local.supervisor import Supervisor

SERVERS = {"postgres", "kafka", "registry", "mailbox"}
DEADLINE_SECONDS = 60
PARENT_WATCH = "parent-watch"
WATCH_INTERVAL_SECONDS = 1


def take_down(directory: StackDirectory) -> bool:
    """Returns False when nothing was running; afterwards nothing is."""
    supervisor = Supervisor(directory)
    if supervisor.answers():
        left = _processes(directory) + _with_children(supervisor.pid())
        stop_in_order(supervisor)
        _wait_gone(left)
        return True
    left = _processes(directory)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _wait_gone(left)
    return bool(left)


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


def _with_children(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def _processes(directory: StackDirectory) -> list[psutil.Process]:
    """Finds also processes that outlived their supervisor: its socket's address is in their environment."""
    mark, config = f"unix://{directory.socket}", str(directory.supervisor_config)
    data = str(postgres.data_folder(directory))
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            is_ours = process.environ().get("SUPERVISOR_SERVER_URL") == mark or config in process.cmdline()
            if is_ours or (process.name() == "postgres" and process.cwd() == data):
                found.append(process)
    return found


def _wait_gone(processes: list[psutil.Process]) -> None:
    _, stuck = psutil.wait_procs(processes, timeout=DEADLINE_SECONDS)
    for process in stuck:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(stuck, timeout=DEADLINE_SECONDS)


def parent_watch(owner_pid: int) -> Process:
    command = [sys.executable, "-m", "fanout.local.stop", str(owner_pid)]
    return Process(PARENT_WATCH, command, {"FANOUT_HOME": str(current().path)}, priority=1)


def main() -> None:
    _wait_for_end(int(sys.argv[1]))
    stop_in_order(Supervisor(current()))


def _wait_for_end(pid: int) -> None:
    """A zombie has ended too, even if its parent never asks for the exit status."""
    with contextlib.suppress(psutil.NoSuchProcess):
        owner = psutil.Process(pid)
        while owner.is_running() and owner.status() != psutil.STATUS_ZOMBIE:
            psutil.wait_procs([owner], timeout=WATCH_INTERVAL_SECONDS)


if __name__ == "__main__":
    main()
