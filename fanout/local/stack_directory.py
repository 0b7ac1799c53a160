"""One stack's folder: where its data, logs and secrets lie. Two homes are two independent stacks."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from fanout.repository import REPOSITORY

LONGEST_SOCKET_PATH = (
    100  # the kernel's limit is 108 bytes, 104 on macOS; supervisor adds a suffix while binding
)


@dataclass(frozen=True)
class StackDirectory:
    path: Path

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def stack_file(self) -> Path:
        return self.path / "stack.json"

    @property
    def supervisor_config(self) -> Path:
        return self.path / "supervisord.conf"

    @property
    def supervisor_log(self) -> Path:
        return self.path / "supervisord.log"

    @property
    def supervisor_logs(self) -> tuple[Path, Path]:
        """Oldest first."""
        return self.supervisor_log.with_name(f"{self.supervisor_log.name}.1"), self.supervisor_log

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def secrets(self) -> Path:
        return self.path / "secrets.json"

    @property
    def offsets_file(self) -> Path:
        return self.path / "ports.json"

    @property
    def counts_file(self) -> Path:
        return self.path / "workers.json"

    @property
    def registry(self) -> Path:
        return self.path / "registry"

    @property
    def mail(self) -> Path:
        return self.path / "mail"

    @property
    def mail_delay(self) -> Path:
        return self.path / "mail-delay"

    @property
    def supervisor_pid(self) -> Path:
        return self.path / "supervisord.pid"

    @property
    def digest(self) -> str:
        return hashlib.sha256(str(self.path).encode()).hexdigest()[:12]

    @property
    def socket(self) -> Path:
        inside = self.path / "supervisor.sock"
        if len(str(inside)) <= LONGEST_SOCKET_PATH - 20:
            return inside
        return Path(tempfile.gettempdir()) / f"fanout-{self.digest}.sock"

    def passwords(self, names: Iterable[str]) -> dict[str, str]:
        """One random password per name, made at its first use and kept in a file only its owner can read."""
        file = self.secrets
        known: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
        wanted = known | {name: token_hex(16) for name in names if name not in known}
        if wanted != known:
            write_private(file, json.dumps(wanted, indent=2) + "\n")
        return wanted

    def forget_password(self, name: str) -> None:
        kept = {other: password for other, password in self.passwords([]).items() if other != name}
        write_private(self.secrets, json.dumps(kept, indent=2) + "\n")


def current() -> StackDirectory:
    """The home that $FANOUT_HOME names, else the repository's own."""
    return StackDirectory(Path(os.environ.get("FANOUT_HOME") or REPOSITORY / ".fanout").absolute())


def write_private(file: Path, text: str) -> None:
    """Replace the file in one step; only its owner can read it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f"{file.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(text)
    os.replace(fresh, file)
