"""A process that ends when this one does, however this one ends: it runs until its standard input is closed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from fanout.environment import for_process
from fanout.errors import ProcessFailed
from fanout.local.ports import HOST, free_port
from fanout.repository import REPOSITORY

UNTIL_INPUT_ENDS = 'exec 3<&0; "$@" & child=$!; { read -r _ <&3; kill "$child"; } 2>/dev/null & wait "$child"'
"""A shell's program. The pipe to it has one writer, so it ends with this process even after a SIGKILL."""
READY_SECONDS = 30.0
STOP_SECONDS = 5.0
POLL_SECONDS = 0.05


@contextmanager
def child(
    name: str, command: Sequence[str], environment: Mapping[str, str], log: Path, is_ready: Callable[[], bool]
) -> Iterator[None]:
    """Runs the command until the block ends, with its output in `log`. Raises ProcessFailed if it is not ready."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["/bin/sh", "-c", UNTIL_INPUT_ENDS, name, *command],
            cwd=REPOSITORY,
            env=for_process(dict(environment)),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for this process, which ends the child in order
        )
    try:
        _wait(name, process, log, is_ready)
        yield
    finally:
        assert process.stdin
        process.stdin.close()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # its own group, as it leads a session of its own
            process.wait()


@contextmanager
def web_app(app: str, environment: Mapping[str, str], folder: Path) -> Iterator[str]:
    """Serves a FastAPI app of this repository, such as `examples.synchronous.payments:app`, and yields its URL."""
    port, name = free_port(), app.partition(":")[0].rpartition(".")[2]
    url = f"http://{HOST}:{port}"
    command = [sys.executable, "-m", "uvicorn", app, "--host", HOST, "--port", str(port), "--no-access-log"]
    with child(name, command, environment, folder / f"{name}.log", lambda: _answers(url)):
        yield url


def _wait(name: str, process: subprocess.Popen[bytes], log: Path, is_ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not is_ready():
        if process.poll() is not None or time.monotonic() > deadline:
            what = "ended" if process.poll() is not None else f"was not ready after {READY_SECONDS:.0f} s"
            raise ProcessFailed(name, what, log.read_text(errors="replace")[-2000:])
        time.sleep(POLL_SECONDS)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=1.0, trust_env=False).is_success
    except httpx.TransportError:
        return False
