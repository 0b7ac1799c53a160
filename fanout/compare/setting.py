"""What a comparison works with: the running stack, a database, and the services of the synchronous side."""

import asyncio
import fcntl
import json
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fanout.compare.child import web_app
from fanout.errors import FanoutError
from fanout.local.ports import HOST
from fanout.local.stack_directory import StackDirectory
from fanout.local.topology import StackSpec
from fanout.provision import outside_database
from fanout.running import Addresses

LOGIN, DATABASE = "compare", "compare_payments"
EXAMPLE = "examples.synchronous"


@dataclass(frozen=True, slots=True)
class Setting:
    """The stack and the synchronous side. `fails_softly`: the synchronous service accepts what its notifier refused."""

    spec: StackSpec
    database_url: str
    notifier_url: str
    folder: Path
    fails_softly: bool

    @property
    def directory(self) -> StackDirectory:
        return self.spec.directory

    @property
    def addresses(self) -> Addresses:
        return self.spec.addresses()

    @contextmanager
    def synchronous_service(self, listeners: Sequence[str]) -> Iterator[str]:
        environment = {
            "DATABASE_URL": self.database_url,
            "LISTENERS": json.dumps([f"{self.notifier_url}/payments", *listeners]),
            "IF_NOT_TOLD": "log" if self.fails_softly else "refuse",
        }
        with web_app(f"{EXAMPLE}.payments:app", environment, self.folder) as url:
            yield url


@contextmanager
def setting(fails_softly: bool) -> Iterator[Setting]:
    """Makes a database and starts the notifier; takes both away again, also after Ctrl-C.

    Raises NotRunning, or FanoutError while another comparison runs on this stack.
    """
    spec = StackSpec.of_running()
    with _alone(spec.directory), _emptied(spec.directory.compare) as folder:
        try:
            url = asyncio.run(outside_database.make(spec.servers(), LOGIN, DATABASE))
            smtp = {"SMTP": f"{HOST}:{spec.ports.smtp}"}
            with web_app(f"{EXAMPLE}.notifier:app", smtp, folder) as notifier_url:
                yield Setting(spec, url, notifier_url, folder, fails_softly)
        finally:
            with _uninterrupted():
                asyncio.run(outside_database.drop(spec.servers(), LOGIN, DATABASE))


@contextmanager
def _alone(directory: StackDirectory) -> Iterator[None]:
    with directory.comparing.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FanoutError(
                f"another fanout compare runs on the stack in {directory.path}: wait for it"
            ) from None
        yield


@contextmanager
def _emptied(folder: Path) -> Iterator[Path]:
    """Removes what a killed comparison has left, and in the end the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ignores Ctrl-C, so that a second one does not leave half of what is being removed."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
