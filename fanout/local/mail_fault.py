"""A fault of the mail server that ends by itself: its file names when, and whoever causes the fault moves that on.

So a command that is killed leaves no slow mail server behind. The delay of `fanout mailbox --delay` is another file,
which a fault hides and never changes.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fanout.local.stack_directory import write_private

FILE = "mail-fault"
ENDS_AFTER_SECONDS = 6.0
RENEWED_EVERY_SECONDS = 1.0

STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class MailState:
    """Each message takes `seconds`; None means that the server refuses every session."""

    seconds: float | None

    @property
    def is_stopped(self) -> bool:
        return self.seconds is None


def current_fault(file: Path) -> MailState | None:
    """Returns None when there is no such file, or its time is over."""
    try:
        kind, ends_at = file.read_text().split()
        if time.time() > float(ends_at):
            return None
        return MailState(None if kind == STOPPED else int(kind) / 1000)
    except (OSError, ValueError):
        return None


@contextmanager
def mail_fault(file: Path, fault: MailState) -> Iterator[None]:
    """Causes the fault until the block ends, or ENDS_AFTER_SECONDS after the process was killed in it."""
    ended = threading.Event()
    _write(file, fault)

    def renew() -> None:
        while not ended.wait(RENEWED_EVERY_SECONDS):
            _write(file, fault)

    renewing = threading.Thread(target=renew, daemon=True)
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join()
        file.unlink(missing_ok=True)


def _write(file: Path, fault: MailState) -> None:
    kind = STOPPED if fault.seconds is None else f"{fault.seconds * 1000:.0f}"
    write_private(file, f"{kind} {time.time() + ENDS_AFTER_SECONDS:.3f}\n")
