"""Which port each process listens on, all counted from one base, and whether they are free."""

import errno
import os
import socket
from dataclasses import dataclass

from fanout.errors import BadUsage, BusyPort

HOST = "127.0.0.1"
DEFAULT_BASE = 8000
HIGHEST_OFFSET = 100


@dataclass(frozen=True)
class Ports:
    base: int

    @property
    def postgres(self) -> int:
        return self.base + 20

    @property
    def kafka(self) -> int:
        return self.base + 21

    @property
    def controller(self) -> int:
        return self.base + 22

    @property
    def registry(self) -> int:
        return self.base + 23

    @property
    def registry_management(self) -> int:
        return self.base + 24

    @property
    def smtp(self) -> int:
        return self.base + 25

    def at(self, offset: int) -> int:
        """Those of APIs and workers are given out one by one, see allotment.py."""
        return self.base + offset


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
