"""Which processes were started with other code than there is now. Contents are compared, not times of change.

`launch` notes what each process starts with, also when supervisor starts it again after a crash.
"""

import json
from collections.abc import Iterable

from fanout.local import launch
from fanout.local.process import Process
from fanout.local.stack_directory import StackDirectory
from fanout.repository import REPOSITORY


def changed(directory: StackDirectory, processes: Iterable[Process]) -> dict[str, list[str]]:
    """Returns the files that are new, gone or different since each process started; only processes that have any."""
    known: dict[str, dict[str, str]] = {}
    found = {}
    for process in processes:
        for folder in process.code:
            if folder not in known:
                known[folder] = launch.sums(REPOSITORY, [folder])
        now = {path: digest for folder in process.code for path, digest in known[folder].items()}
        if files := _different(_noted(directory, process.name), now):
            found[process.name] = files
    return found


def _noted(directory: StackDirectory, name: str) -> dict[str, str] | None:
    file = directory.code / f"{name}.json"
    try:
        noted: dict[str, str] = json.loads(file.read_text())
    except FileNotFoundError:
        return None
    return noted


def _different(noted: dict[str, str] | None, now: dict[str, str]) -> list[str]:
    """A process without a note is new, or could not write it: nothing is known of it."""
    if noted is None:
        return []
    return sorted(path for path in noted.keys() | now.keys() if noted.get(path) != now.get(path))


def sentence(name: str, files: list[str]) -> str:
    """restarted fraud-worker: services/fraud/service.py changed"""
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return f"restarted {name}: {files[0]}{more} changed"
