"""Start Postgres in this process's place, after the remains of a killed one are gone.

A SIGKILLed postmaster leaves its backends, shared memory and a pid file behind; a new one refuses to start beside them.
"""

import argparse
import contextlib
import os
from pathlib import Path

import psutil

from fanout.local.account import change_to

PATIENCE_SECONDS = 3


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--uid", type=int)
    parser.add_argument("data", type=Path)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    asked = parser.parse_args()
    clear(asked.data)
    change_to(asked.uid)
    os.execv(asked.command[0], asked.command)


def clear(data: Path) -> None:
    """Backends leave by themselves once they notice; one that is stuck is killed, which a crash allows."""
    _, stuck = psutil.wait_procs(_living_in(data), timeout=PATIENCE_SECONDS)
    for process in stuck:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(stuck, timeout=PATIENCE_SECONDS)
    (data / "postmaster.pid").unlink(missing_ok=True)


def _living_in(data: Path) -> list[psutil.Process]:
    """Every Postgres process makes the data folder its working directory."""
    looks = {"name": "postgres", "cwd": str(data.resolve())}
    return [process for process in psutil.process_iter(list(looks)) if process.info == looks]


if __name__ == "__main__":
    main()
