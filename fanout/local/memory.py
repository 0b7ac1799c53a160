"""How much memory a process and all its descendants take: pages shared by several are divided among them."""

import contextlib
from pathlib import Path

import psutil


def of_tree(pid: int) -> int:
    """Bytes; a process that ended meanwhile counts as nothing."""
    total = 0
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                total += _of(process)
    return total


def of_one(pid: int) -> int:
    with contextlib.suppress(psutil.Error):
        return _of(psutil.Process(pid))
    return 0


def _of(process: psutil.Process) -> int:
    """Proportional set size on Linux, elsewhere the resident set."""
    try:
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return int(process.memory_info().rss)
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
