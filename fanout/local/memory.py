"""How much memory a process and its descendants take; pages that several processes share are divided among them."""

import contextlib
from pathlib import Path

import psutil


def of_tree(pid: int) -> int:
    """Returns bytes; a process that has ended meanwhile counts as 0."""
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        return sum(of_one(process.pid) for process in [root, *root.children(recursive=True)])
    return 0


def of_one(pid: int) -> int:
    """Returns the proportional set size on Linux, elsewhere the resident set, in bytes."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    except OSError:
        with contextlib.suppress(psutil.Error):
            return int(psutil.Process(pid).memory_info().rss)
    return 0
