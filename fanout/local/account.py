"""Which account Postgres runs under: it refuses root, so root borrows another one."""

import functools
import os
import pwd
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

NOBODY = 65534


@dataclass(frozen=True)
class Account:
    """`prefix` goes before each command; `uid` is set when the process must really change to it."""

    prefix: tuple[str, ...] = ()
    uid: int | None = None

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.prefix, *command], capture_output=True, text=True, cwd="/", preexec_fn=self.become()
        )

    def become(self) -> Callable[[], None] | None:
        return None if self.uid is None else lambda: change_to(self.uid)


@functools.cache
def choose() -> Account:
    """Not root: ourselves. Root: a user namespace, and where those are forbidden, uid 65534."""
    if os.geteuid() != 0:
        return Account()
    mapped = _mapped()
    if mapped and subprocess.run([*mapped, "true"], capture_output=True).returncode == 0:
        return Account(prefix=mapped)
    return Account(uid=NOBODY)


def _mapped() -> tuple[str, ...] | None:
    """initdb looks its user up in /etc/passwd, so the mapped uid must exist there."""
    unshare = shutil.which("unshare")
    users = sorted(entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid != 0)
    if not unshare or not users:
        return None
    return (unshare, "--user", f"--map-user={users[0]}", f"--map-group={users[0]}")


def change_to(uid: int | None) -> None:
    if uid is not None:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
