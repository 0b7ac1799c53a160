"""A small process of the stack that takes it down when its owner is gone, however the owner ended."""

import sys

import psutil

from fanout.local.process import Process
from fanout.local.stack_directory import current

NAME = "guard"
INTERVAL_SECONDS = 1


def processes(owner_pid: int | None) -> list[Process]:
    if owner_pid is None:
        return []
    command = [sys.executable, "-m", "fanout.local.parent_watch", str(owner_pid)]
    return [Process(NAME, command, {"FANOUT_HOME": str(current().path)}, priority=1)]


def main() -> None:
    wait_for_end(int(sys.argv[1]))

    from fanout.local.stop import stop_in_order
    from fanout.local.supervisor import Supervisor

    stop_in_order(Supervisor(current()))


def wait_for_end(pid: int) -> None:
    """A zombie has ended too, even if nobody asks for its exit status."""
    try:
        owner = psutil.Process(pid)
        while owner.is_running() and owner.status() != psutil.STATUS_ZOMBIE:
            psutil.wait_procs([owner], timeout=INTERVAL_SECONDS)
    except psutil.NoSuchProcess:
        return


if __name__ == "__main__":
    main()
