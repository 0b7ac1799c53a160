"""`fanout dev`: the stack, with changed code taken over whenever a file is saved."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from watchfiles import watch

from fanout.console import say
from fanout.errors import Busy, FanoutError, NotRunning
from fanout.local.reload import FOLDERS, Reloader
from fanout.local.stack_directory import StackDirectory, current
from fanout.local.start import bring_up
from fanout.local.topology import StackSpec
from fanout.repository import REPOSITORY

GATHER_MS = 300
"""How long files that are saved together may take."""
LOCK_SECONDS = 60
LOCK_INTERVAL_SECONDS = 0.5


def command() -> None:
    """Start the stack, and restart what is affected whenever a file under services/, chassis/ or schemas/ is saved.

    Code that cannot be imported is named with file and line, and what runs goes on. A migration or a contract that was
    saved is left to fanout up, because neither can be taken back. Ctrl-C ends the watching; the stack keeps running.

    Example: fanout dev
    """
    directory = current()
    try:
        with directory.locked():
            bring_up(StackSpec.to_start(), None)
        say(f"watching {', '.join(FOLDERS)}: Ctrl-C ends that")
        _watch(directory, Reloader())
    except KeyboardInterrupt:
        _say_what_runs(directory)


def _watch(directory: StackDirectory, reloader: Reloader) -> None:
    """Looks once without a change, too: something may have been saved before the watching began."""
    folders = [REPOSITORY / folder for folder in FOLDERS]
    for number, changes in enumerate(watch(*folders, debounce=GATHER_MS, yield_on_timeout=True)):
        if number and not changes:
            continue
        saved = {Path(path).relative_to(REPOSITORY).as_posix() for _, path in changes}
        try:
            with _locked(directory):
                reloader.take_over(saved)
        except NotRunning:
            raise
        except FanoutError as error:
            say(f"error: {error}")


@contextmanager
def _locked(directory: StackDirectory) -> Iterator[None]:
    """Waits for another command, such as `fanout up`, to finish. Raises Busy if that takes a minute."""
    deadline = time.monotonic() + LOCK_SECONDS
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(directory.locked())
                break
            except Busy:
                if time.monotonic() > deadline:
                    raise
            time.sleep(LOCK_INTERVAL_SECONDS)
        yield


def _say_what_runs(directory: StackDirectory) -> None:
    from fanout.local.supervisor import Supervisor

    supervisor = Supervisor(directory)
    if supervisor.answers():
        count = sum(state.is_alive for state in supervisor.states())
        say(
            f"no longer watching; {count} processes keep running with the code they have: fanout down stops them"
        )
    else:
        say("no longer watching; nothing is running")
