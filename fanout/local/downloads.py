"""The pinned Java software: fetched from Maven through jgo, and kept in a cache only once its sha256 is right."""

import errno
import fcntl
import hashlib
import logging
import os
import shutil
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from fanout.console import console, counted, progress, say
from fanout.environment import while_downloading
from fanout.errors import BadUsage, NoNetwork, UnusableFolder, WrongSum

Advance = Callable[[int], None]
"""Is told how many bytes more were received."""
Watch = Callable[[str, int], AbstractContextManager[Advance]]
"""Is told a file's name and size; what it yields is told how many bytes were received."""

PINNED = Path(__file__).with_name("maven.sha256")
CACHE = "XDG_CACHE_HOME"
VIEWER = "zipkin-server"
"""The artifact that only a stack with `--observe` needs."""
THREADS = 8
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
ATTEMPTS = 3


@dataclass(frozen=True)
class Artifact:
    """One file of a Maven repository: group:name:version[:packaging:classifier]."""

    sha256: str
    group: str
    name: str
    version: str
    packaging: str = "jar"
    classifier: str = ""
    size: int = field(default=0, kw_only=True)
    """In bytes, as the repository sends it."""

    @property
    def filename(self) -> str:
        tail = f"-{self.classifier}" if self.classifier else ""
        return f"{self.name}-{self.version}{tail}.{self.packaging}"

    @property
    def is_archive(self) -> bool:
        return self.packaging == "tar.gz"

    @property
    def path(self) -> Path:
        """Its place in the cache: a file, or the unpacked folder of an archive. What is there was verified."""
        stored = cache() / "artifacts" / self.sha256
        return stored / ("unpacked" if self.is_archive else self.filename)


def pinned(file: Path = PINNED) -> list[Artifact]:
    lines = [line.split() for line in file.read_text().splitlines() if line.strip()]
    return [Artifact(sha256, *coordinates.split(":"), size=int(size)) for sha256, coordinates, size in lines]


def of_servers() -> list[Artifact]:
    """Returns what every stack needs: Kafka and the registry."""
    return [artifact for artifact in pinned() if artifact.name != VIEWER]


def viewer() -> Artifact:
    """Returns the trace viewer."""
    return next(artifact for artifact in pinned() if artifact.name == VIEWER)


def cache() -> Path:
    """Returns the folder of the cache. Raises BadUsage if nothing says where it is to be."""
    if given := os.environ.get(CACHE):
        return Path(given).absolute() / "fanout"
    try:
        return Path.home() / ".cache" / "fanout"
    except RuntimeError as error:
        raise BadUsage(
            f"this user has no home folder to keep downloads in: set {CACHE} to a folder"
        ) from error


def fetch(artifacts: list[Artifact]) -> None:
    """Afterwards every artifact is in the cache; raises NoNetwork or WrongSum with the name of one that is not.

    Raises UnusableFolder if the cache is full or cannot be written. The user's proxies are used.
    """
    try:
        if _missing(artifacts):
            with while_downloading():
                _fetch(artifacts)
    except OSError as error:
        raise UnusableFolder(str(cache()), error.strerror or str(error), CACHE) from error


def _fetch(artifacts: list[Artifact]) -> None:
    with _workspace() as workspace:
        missing = _missing(artifacts)
        total = sum(artifact.size for artifact in missing)
        what = "the trace viewer" if missing == [viewer()] else "Kafka and the schema registry"
        say(f"fetching {what}, {counted(len(missing), 'file')}, {_mb(total)}, into {cache()}")
        with _progress(total) as advance:
            _fetch_all(missing, _Download(workspace, advance))


def _fetch_all(missing: list[Artifact], download: "_Download") -> None:
    pool = ThreadPoolExecutor(THREADS)
    try:
        for done in as_completed([pool.submit(download.one, artifact) for artifact in missing]):
            done.result()
    except BaseException as error:
        download.stop.set()
        # After Ctrl-C a connection that hangs is not waited for: the process ends without its threads.
        pool.shutdown(wait=not isinstance(error, KeyboardInterrupt), cancel_futures=True)
        raise
    pool.shutdown()


def _missing(artifacts: list[Artifact]) -> list[Artifact]:
    return [artifact for artifact in artifacts if not artifact.path.exists()]


@contextmanager
def _workspace() -> Iterator[Path]:
    """A temporary folder in the cache, for one process at a time; removes what a killed process left there."""
    unfinished = cache() / "unfinished"
    unfinished.mkdir(parents=True, exist_ok=True)
    with (cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in unfinished.iterdir():
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=unfinished, ignore_cleanup_errors=True) as temporary:
            yield Path(temporary)


@contextmanager
def _progress(total: int) -> Iterator[Advance]:
    """Shows a bar on a terminal, elsewhere a line every two seconds."""
    if console.is_terminal and not console.is_dumb_terminal:
        columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("fetching", total=total)
            yield lambda received: bar.advance(task, received)
        return
    with progress(console) as tell:
        done, lock = 0, threading.Lock()

        def advance(received: int) -> None:
            nonlocal done
            with lock:
                done += received
                tell(f"fetched {_mb(done)} of {_mb(total)}")

        yield advance


def _mb(size: int) -> str:
    return f"{size / 1_000_000:.0f} MB"


class _Stopped(Exception):
    """Another download failed, or the user pressed Ctrl-C."""


class _Download:
    """The downloads of one run; setting `stop` ends them all."""

    def __init__(self, workspace: Path, advance: Advance) -> None:
        self._workspace = workspace
        self._advance = advance
        self.stop = threading.Event()

    def one(self, artifact: Artifact) -> None:
        file = self._with_retries(artifact)
        _check_sum(file, artifact)
        _store(file, artifact)

    def _with_retries(self, artifact: Artifact) -> Path:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return from_maven(artifact, self._workspace / f"{artifact.sha256}.{attempt}", self._watch)
            except (OSError, RuntimeError) as error:
                if (cause := _folder_error(error)) is not None:
                    raise cause from error
                if attempt == ATTEMPTS:
                    raise NoNetwork(artifact.filename, str(cache()), type(error).__name__) from error
        raise AssertionError("unreachable")

    @contextmanager
    def _watch(self, _: str, size: int) -> Iterator[Advance]:
        """Yields a callback that counts received bytes; subtracts them again if the attempt fails."""
        received = 0

        def advance(more: int) -> None:
            nonlocal received
            if self.stop.is_set():
                raise _Stopped
            received += more
            self._advance(more)

        try:
            yield advance
        except BaseException:
            self._advance(-received)
            raise


def _folder_error(error: BaseException | None) -> OSError | None:
    """Returns what is wrong with the cache's disk, if that is why a download failed, and not the network."""
    while error is not None:
        # A firewall's refusal is a PermissionError, too, but names no file.
        is_of_file = isinstance(error, PermissionError) and error.filename is not None
        if isinstance(error, OSError) and (is_of_file or error.errno in DISK_ERRORS):
            return error
        error = error.__cause__ or error.__context__
    return None


def from_maven(artifact: Artifact, folder: Path, watch: Watch) -> Path:
    from jgo.maven import MavenContext, PythonResolver

    logging.getLogger("jgo").setLevel(logging.CRITICAL)
    maven = MavenContext(resolver=PythonResolver(progress_callback=watch), repo_cache=folder, timeout=30)
    component = maven.project(artifact.group, artifact.name).at_version(artifact.version)
    found = component.artifact(classifier=artifact.classifier, packaging=artifact.packaging)
    return Path(found.resolve())


def _check_sum(file: Path, artifact: Artifact) -> None:
    with file.open("rb") as opened:
        actual = hashlib.file_digest(opened, "sha256").hexdigest()
    if actual != artifact.sha256:
        raise WrongSum(artifact.filename, artifact.sha256, actual)


def _store(file: Path, artifact: Artifact) -> None:
    """Moves a verified file, or what it unpacks to, to its place in one step."""
    place, prepared = artifact.path.parent, file.parent / f"{artifact.sha256}.prepared"
    place.parent.mkdir(parents=True, exist_ok=True)
    prepared.mkdir()
    if artifact.is_archive:
        with tarfile.open(file) as archive:
            archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
            archive.extractall(prepared / "unpacked")
    else:
        os.replace(file, prepared / artifact.filename)
    os.replace(prepared, place)
