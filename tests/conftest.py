"""One real stack for the whole session, on free ports and in a folder of its own; nothing of it stays behind."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import pytest

from fanout.addresses import Addresses, running

REPOSITORY = Path(__file__).parent.parent
FIRST_BASE, LAST_BASE, STEP = 21_000, 31_000, 100


@dataclass(frozen=True)
class Stack:
    """`FANOUT_TEST_HOME` names a running one to use instead; then it is left as it is."""

    home: Path
    environment: dict[str, str]

    @property
    def addresses(self) -> Addresses:
        return running(self.home)

    def fanout(self, *arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        """The command as a user runs it."""
        command = [sys.executable, "-m", "fanout", *arguments]
        return subprocess.run(
            command, cwd=REPOSITORY, env=self.environment, capture_output=True, text=True, timeout=timeout
        )

    def must(self, *arguments: str, timeout: float = 240) -> str:
        done = self.fanout(*arguments, timeout=timeout)
        assert done.returncode == 0, (
            f"fanout {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done.stdout


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    if existing := os.environ.get("FANOUT_TEST_HOME"):
        yield Stack(Path(existing), os.environ | {"FANOUT_HOME": existing})
        return
    home = Path(tempfile.mkdtemp(prefix="fanout-test-"))
    stack = Stack(home, os.environ | {"FANOUT_HOME": str(home), "FANOUT_PORT_BASE": str(free_base())})
    try:
        stack.must("up", "--owner-pid", str(os.getpid()))
        yield stack
    finally:
        stack.fanout("down", "--wipe")
        shutil.rmtree(home, ignore_errors=True)


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


def pytest_configure() -> None:
    """A terminated run cleans up like an interrupted one."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
