"""What a home keeps of its service processes: how many workers a service has, and a port for each to keep."""

import json
from collections.abc import Iterable
from pathlib import Path

from fanout.errors import FanoutError
from fanout.local.stack_directory import StackDirectory, write_private

API_OFFSETS = range(1, 20)
WORKER_OFFSETS = range(40, 100)


def worker_names(service: str, count: int) -> list[str]:
    """fraud-worker, fraud-worker-2, fraud-worker-3, ..."""
    return [f"{service}-worker", *(f"{service}-worker-{number}" for number in range(2, count + 1))]


def counts(home: StackDirectory) -> dict[str, int]:
    """Of the services that do not have the usual one."""
    return _read(home.counts_file)


def set_count(home: StackDirectory, service: str, count: int) -> None:
    """Workers that are no more give their ports back."""
    gone = set(worker_names(service, counts(home).get(service, 1))) - set(worker_names(service, count))
    _write(home.counts_file, _without(counts(home), {service}) | ({service: count} if count != 1 else {}))
    _write(home.offsets_file, _without(offsets(home), gone))


def offsets(home: StackDirectory) -> dict[str, int]:
    """By process, how far its port is from the base."""
    return _read(home.offsets_file)


def give_offsets(home: StackDirectory, apis: Iterable[str], workers: Iterable[str]) -> dict[str, int]:
    """Whoever has one keeps it, so that a new service moves nobody; the others get the lowest that are free."""
    known = offsets(home)
    given = dict(known)
    for names, allowed in ((apis, API_OFFSETS), (workers, WORKER_OFFSETS)):
        for name in names:
            if name not in given:
                given[name] = _lowest_free(name, allowed, given)
    if given != known:
        _write(home.offsets_file, given)
    return given


def forget(home: StackDirectory, service: str) -> None:
    """As if there had never been a service of that name."""
    set_count(home, service, 1)
    _write(home.offsets_file, _without(offsets(home), {f"{service}-api", f"{service}-worker"}))


def _lowest_free(name: str, allowed: range, given: dict[str, int]) -> int:
    free = set(allowed).difference(given.values())
    if not free:
        raise FanoutError(f"no port is left for {name}, {len(allowed)} are taken: scale another service down")
    return min(free)


def _without(values: dict[str, int], names: set[str]) -> dict[str, int]:
    return {name: value for name, value in values.items() if name not in names}


def _read(file: Path) -> dict[str, int]:
    return dict(json.loads(file.read_text())) if file.exists() else {}


def _write(file: Path, values: dict[str, int]) -> None:
    if values != _read(file):
        write_private(file, json.dumps(values, indent=2) + "\n")
