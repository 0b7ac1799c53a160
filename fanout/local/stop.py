"""Take a stack down: services first, then what they use, and look that no process is left."""

import contextlib
import shutil

import psutil

from fanout.local import parent_watch, postgres, readiness
from fanout.local.stack_directory import StackDirectory
from fanout.local.supervisor import Supervisor

SERVERS = {"postgres", "kafka", "registry", "mailbox"}
DEADLINE_SECONDS = 60


def take_down(home: StackDirectory) -> bool:
    """False when nothing was running. Afterwards nothing is."""
    supervisor = Supervisor(home)
    if supervisor.answers():
        left = _processes(home) + _with_children(supervisor.pid())
        stop_in_order(supervisor)
        _wait_gone(left)
        return True
    left = _processes(home)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _wait_gone(left)
    return bool(left)


def wipe(home: StackDirectory) -> None:
    """Delete what a stack keeps in its home; other files there are not ours."""
    shutil.rmtree(postgres.data_folder(home), ignore_errors=True)
    for folder in (home.logs, home.mail, home.registry, home.path / "kafka", home.path / "postgres.new"):
        shutil.rmtree(folder, ignore_errors=True)
    ours = (home.lock, home.stack_file, home.secrets, home.offsets_file, home.counts_file)
    for file in (*ours, home.mail_delay, home.supervisor_config, *home.supervisor_logs):
        file.unlink(missing_ok=True)
    for folder in (postgres.shared_folder(home.digest), home.path):
        with contextlib.suppress(OSError):
            folder.rmdir()


def stop_in_order(supervisor: Supervisor) -> None:
    """All together within each rank; supervisor's own shutdown takes a second per process."""
    names = {state.name for state in supervisor.states()} - {parent_watch.NAME}
    for rank in (names - SERVERS, names & SERVERS - {"postgres"}, names & {"postgres"}):
        readiness.stop(supervisor, rank)
    supervisor.shutdown()


def _with_children(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def _processes(home: StackDirectory) -> list[psutil.Process]:
    """Also those that outlived their supervisor: it put its socket's address into their environment."""
    mark, config, data = f"unix://{home.socket}", str(home.supervisor_config), str(postgres.data_folder(home))
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
