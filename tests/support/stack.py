"""A running stack and the `fanout` command on it, as a user runs it."""

import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from fanout.running import Addresses, running

REPOSITORY = Path(__file__).parents[2]
FIRST_BASE, LAST_BASE, STEP = 21_000, 31_000, 100


@dataclass(frozen=True)
class Stack:
    """`repository` is the tree whose services run, usually this one."""

    home: Path
    environment: dict[str, str]
    repository: Path = REPOSITORY

    @property
    def addresses(self) -> Addresses:
        return running(self.home)

    def fanout(self, *arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        return self.python("-m", "fanout", *arguments, timeout=timeout)

    def python(self, *arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.repository,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def must(self, *arguments: str, timeout: float = 240) -> str:
        done = self.fanout(*arguments, timeout=timeout)
        assert done.returncode == 0, (
            f"fanout {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done.stdout


def free_base() -> int:
    """A port base with nothing listening behind it."""
    return next(
        base for base in range(FIRST_BASE, LAST_BASE, STEP) if all(map(_is_free, range(base, base + 60)))
    )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
