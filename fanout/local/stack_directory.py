"""The stack directory: where one local stack keeps its data, logs and secrets. Two directories are two stacks."""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import TextIO

from fanout.errors import BadUsage, Busy, UnusableFolder
from fanout.repository import REPOSITORY

LONGEST_SOCKET_PATH = 100
"""Bytes; the kernel's limit is 108, 104 on macOS."""
BINDING_SUFFIX = 20
"""Supervisor binds its socket under a longer name first."""
SOCKETS_ELSEWHERE = "/tmp"
"""Not $TMPDIR, which may be long, too, and may be another one for the next command."""
MARK = "FANOUT_STACK"
"""The variable by which every process of a stack is known."""


class StackDirectory:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.digest = hashlib.sha256(str(path).encode()).hexdigest()[:12]
        self.logs = path / "logs"
        self.code = path / "code"
        self.kafka = path / "kafka"
        self.registry = path / "registry"
        self.mail = path / "mail"
        self.zipkin = path / "zipkin"
        self.prometheus = path / "prometheus"
        self.observing = path / "observing"
        self.mail_delay = path / "mail-delay"
        self.mail_fault = path / "mail-fault"
        self.comparing = path / "comparing"
        self.compare = path / "compare"
        self.edits = path / "edits"
        self.stack_file = path / "stack.json"
        self.secrets = path / "secrets.json"
        self.token_key = path / "token_private_key.pem"
        self.offsets_file = path / "ports.json"
        self.counts_file = path / "workers.json"
        self.lock = path / "lock"
        self.supervisor_config = path / "supervisord.conf"
        self.supervisor_pid = path / "supervisord.pid"
        self.supervisor_log = path / "supervisord.log"
        self.supervisor_logs = (path / "supervisord.log.1", self.supervisor_log)  # oldest first
        self.processes = path / "processes.json"
        self.socket_elsewhere = path / "supervisor.address"
        self.folders = (
            self.logs,
            self.code,
            self.kafka,
            self.registry,
            self.mail,
            self.zipkin,
            self.prometheus,
            self.compare,
            self.edits,
            path / "postgres.new",
        )
        self.files = (
            *(self.mail_delay, self.mail_fault, self.comparing, self.observing),
            *(self.stack_file, self.secrets, self.offsets_file, self.counts_file, self.lock),
            *(
                self.token_key,
                self.supervisor_config,
                self.supervisor_pid,
                *self.supervisor_logs,
                self.processes,
            ),
            *(path / "supervisor.sock", self.socket_elsewhere),
        )

    @property
    def socket(self) -> Path:
        """The socket of supervisor: in the directory or, where that path is too long, where `place_socket` put it."""
        if self.socket_elsewhere.exists():
            return Path(self.socket_elsewhere.read_text())
        return self.path / "supervisor.sock"

    def place_socket(self) -> None:
        """Decides where supervisor is to listen, before it starts: in a new private folder if the path is too long."""
        self.remove_socket()
        if len(os.fsencode(self.socket)) > LONGEST_SOCKET_PATH - BINDING_SUFFIX:
            folder = tempfile.mkdtemp(prefix="fanout-", dir=SOCKETS_ELSEWHERE)
            write_private(self.socket_elsewhere, f"{folder}/supervisor.sock")

    def remove_socket(self) -> None:
        if self.socket_elsewhere.exists():
            shutil.rmtree(self.socket.parent, ignore_errors=True)
            self.socket_elsewhere.unlink()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lets one command at a time change which processes the stack has; ends with the process that holds it.

        Raises Busy.
        """
        with self._opened_lock() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Busy(str(self.path)) from None
            yield

    def _opened_lock(self) -> TextIO:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            return self.lock.open("w")
        except OSError as error:
            raise UnusableFolder(str(self.path), error.strerror or str(error), "FANOUT_HOME") from error

    def passwords(self, names: Iterable[str]) -> dict[str, str]:
        """Returns all passwords; those of new names are random, made once, and readable by the owner only."""
        known: dict[str, str] = json.loads(self.secrets.read_text()) if self.secrets.exists() else {}
        wanted = known | {name: token_hex(16) for name in names if name not in known}
        if wanted != known:
            write_private(self.secrets, json.dumps(wanted, indent=2) + "\n")
        return wanted

    def forget_password(self, name: str) -> None:
        kept = {other: password for other, password in self.passwords([]).items() if other != name}
        write_private(self.secrets, json.dumps(kept, indent=2) + "\n")


def current() -> StackDirectory:
    """Returns the directory that $FANOUT_HOME names, else the repository's own. Raises BadUsage for a line break."""
    path = Path(os.environ.get("FANOUT_HOME") or REPOSITORY / ".fanout").absolute()
    if broken := next((each for each in str(path) if ord(each) < 32), None):
        raise BadUsage(
            f"the path {str(path)!r} has the character {broken!r} in it, which configuration files cannot hold: set "
            "FANOUT_HOME to another folder"
        )
    return StackDirectory(path)


def mark_of(directory: StackDirectory) -> dict[str, str]:
    """Returns the variable that processes of this stack have, under whatever name its directory is called."""
    return {MARK: os.path.realpath(directory.path)}


def write_private(file: Path, text: str) -> None:
    """Replaces the file in one step; only its owner can read it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f"{file.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(
        os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as opened:
        opened.write(text)
    os.replace(fresh, file)
