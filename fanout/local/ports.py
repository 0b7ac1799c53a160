"""Port assignment: which port each process listens on, counted from one base, and whether it is free.

A service's process keeps its port for as long as it exists, so that a new service moves no other. The stack directory
also keeps how many workers each service has.
"""

import errno
import json
import os
import socket
from collections.abc import Iterable
from pathlib import Path

from fanout.errors import BadUsage, BusyPort, FanoutError
from fanout.local.stack_directory import StackDirectory, write_private

HOST = "127.0.0.1"
DEFAULT_BASE = 8000
HIGHEST_OFFSET = 100
API_OFFSETS = range(1, 20)
WORKER_OFFSETS = range(40, 100)


class Ports:
    def __init__(self, base: int) -> None:
        self.base = base
        self.postgres = base + 20
        self.kafka = base + 21
        self.controller = base + 22
        self.registry = base + 23
        self.registry_management = base + 24
        self.smtp = base + 25
        self.viewer = base + 26
        self.traces = base + 27
        self.exporter = base + 28
        self.prometheus = base + 29


def from_environment() -> Ports:
    text = os.environ.get("FANOUT_PORT_BASE") or str(DEFAULT_BASE)
    if not text.isdecimal() or not 1024 <= int(text) <= 65535 - HIGHEST_OFFSET:
        raise BadUsage(f"FANOUT_PORT_BASE must be a number from 1024 to {65535 - HIGHEST_OFFSET}, not {text}")
    return Ports(int(text))


def require_free(wanted: dict[int, str]) -> None:
    """`wanted` says which process each port is for."""
    for port, process in wanted.items():
        if not is_free(port):
            raise BusyPort(port, process)


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            return error.errno != errno.EADDRINUSE
    return True


def worker_names(service: str, count: int) -> list[str]:
    """fraud-worker, fraud-worker-2, fraud-worker-3, ..."""
    return [f"{service}-worker", *(f"{service}-worker-{number}" for number in range(2, count + 1))]


def counts(directory: StackDirectory) -> dict[str, int]:
    """How many workers each service has that does not have one."""
    return _read(directory.counts_file)


def set_count(directory: StackDirectory, service: str, count: int) -> None:
    """Workers that no longer exist give their ports back."""
    known = counts(directory)
    gone = set(worker_names(service, known.get(service, 1))) - set(worker_names(service, count))
    _write(directory.counts_file, _without(known, {service}) | ({service: count} if count != 1 else {}))
    _write(directory.offsets_file, _without(offsets(directory), gone))


def offsets(directory: StackDirectory) -> dict[str, int]:
    """The assigned ports of services' processes, counted from the base."""
    return _read(directory.offsets_file)


def assign(directory: StackDirectory, apis: Iterable[str], workers: Iterable[str]) -> dict[str, int]:
    """Assigns the lowest free offset to each process that has none yet, and returns all offsets."""
    assigned = offsets(directory)
    for names, allowed in ((apis, API_OFFSETS), (workers, WORKER_OFFSETS)):
        for name in names:
            if name not in assigned:
                assigned[name] = _lowest_free(name, allowed, assigned)
    _write(directory.offsets_file, assigned)
    return assigned


def release(directory: StackDirectory, service: str) -> None:
    """Takes back everything that was assigned to a service."""
    set_count(directory, service, 1)
    _write(directory.offsets_file, _without(offsets(directory), {f"{service}-api", f"{service}-worker"}))


def _lowest_free(name: str, allowed: range, assigned: dict[str, int]) -> int:
    free = set(allowed).difference(assigned.values())
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


def free_port() -> int:
    """Returns a port on which nothing listens now; whoever is first may take it."""
    with socket.create_server((HOST, 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
