"""Presses Ctrl-C: sends SIGINT to a command and everything that it started, as a terminal does."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import psutil

TO_END_SECONDS = 45

When = Callable[[str, int], bool]
"""Is asked with what the command has printed and its pid."""


@dataclass(frozen=True, slots=True)
class Ended:
    """`seconds` are those from the signal to the end."""

    code: int
    output: str
    seconds: float

    @property
    def is_clean(self) -> bool:
        return self.code in (128 + signal.SIGINT, -signal.SIGINT) and "Traceback" not in self.output


def interrupted(
    command: Sequence[str],
    environment: Mapping[str, str],
    when: When,
    folder: Path,
    patience: float = 60,
) -> Ended:
    """Sends SIGINT once `when` is true of what the command has printed and of its pid, and waits for the end.

    Fails if the command ends before.
    """
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        # What a shell starts in the background ignores SIGINT, and so would everything that it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    printed: list[bytes] = []
    reading = threading.Thread(target=_read, args=(process, printed), daemon=True)
    reading.start()
    deadline = monotonic() + patience
    try:
        while not when(_text(printed), process.pid):
            assert process.poll() is None, f"it ended before: {process.returncode}\n{_text(printed)}"
            assert monotonic() < deadline, f"it has not come to that:\n{_text(printed)}"
            sleep(0.01)
        sent_at = monotonic()
        os.killpg(process.pid, signal.SIGINT)
        process.wait(TO_END_SECONDS)
        seconds = monotonic() - sent_at
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    reading.join(5)
    return Ended(process.returncode, _text(printed), seconds)


def talks_to_the_stack(_: str, pid: int) -> bool:
    """Is true once the process, or one that it started, has a connection."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        return any(each.net_connections() for each in [process, *process.children(recursive=True)])
    return False


def _read(process: subprocess.Popen[bytes], printed: list[bytes]) -> None:
    assert process.stdout
    while chunk := os.read(process.stdout.fileno(), 65536):
        printed.append(chunk)


def _text(printed: Sequence[bytes]) -> str:
    return b"".join(printed).decode(errors="replace")
