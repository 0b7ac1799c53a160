"""What happened so far: how often supervisor started a process, and what it wrote last."""

from collections import Counter, deque

from fanout.local.stack_directory import StackDirectory


def spawned(home: StackDirectory, name: str) -> int:
    return all_spawned(home)[name]


def all_spawned(home: StackDirectory) -> Counter[str]:
    """Starts per process since the stack came up, as supervisor's own log tells."""
    lines = [line for file in home.supervisor_logs if file.exists() for line in file.read_text().splitlines()]
    return Counter(line.split("'")[1] for line in lines if " spawned: '" in line)


def last_lines(home: StackDirectory, name: str, count: int = 15) -> str:
    file = home.logs / f"{name}.log"
    if not file.exists():
        return ""
    with file.open(errors="replace") as opened:
        return "".join(deque(opened, count)).rstrip()
