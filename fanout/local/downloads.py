"""Fetch what the cache lacks, from Maven through jgo; nothing is stored before its sum is right."""

import hashlib
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from fanout.console import console
from fanout.errors import NoNetwork, WrongSum
from fanout.local import cache
from fanout.local.artifacts import Artifact

Watch = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]

THREADS = 8
ATTEMPTS = 3


class Stopped(Exception):
    """Another download failed, or the user pressed Ctrl-C."""


def fetch(artifacts: list[Artifact]) -> None:
    """Afterwards every artifact is in the cache, or an error says which one is not and why."""
    if not _missing(artifacts):
        return
    with cache.workspace() as workspace, _progress() as progress:
        missing = _missing(artifacts)
        _fetch_all(missing, Download(workspace, progress, total=len(missing)))


def _missing(artifacts: list[Artifact]) -> list[Artifact]:
    return [artifact for artifact in artifacts if not cache.path_of(artifact).exists()]


def _fetch_all(artifacts: list[Artifact], download: "Download") -> None:
    pool = ThreadPoolExecutor(THREADS)
    try:
        for done in as_completed([pool.submit(download.one, artifact) for artifact in artifacts]):
            done.result()
    finally:
        download.stop.set()
        pool.shutdown(cancel_futures=True)


def _progress() -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    return Progress(*columns, console=console)


class Download:
    """The downloads of one run, in one temporary folder; setting `stop` ends them all."""

    def __init__(self, workspace: Path, progress: Progress, total: int) -> None:
        self.workspace = workspace
        self.stop = threading.Event()
        self._progress = progress
        self._task = progress.add_task(f"fetching {total} files", total=0)

    def one(self, artifact: Artifact) -> None:
        file = self._with_retries(artifact)
        check_sum(file, artifact)
        cache.store(artifact, file)

    def _with_retries(self, artifact: Artifact) -> Path:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return from_maven(artifact, self.workspace / f"{artifact.sha256}.{attempt}", self._watch)
            except (OSError, RuntimeError) as error:
                if attempt == ATTEMPTS:
                    raise NoNetwork(artifact.filename, str(cache.folder()), type(error).__name__) from error
        raise AssertionError("unreachable")

    @contextmanager
    def _watch(self, _: str, size: int) -> Iterator[Callable[[int], None]]:
        self._progress.update(self._task, total=(self._progress.tasks[self._task].total or 0) + size)
        yield self._advance

    def _advance(self, received: int) -> None:
        if self.stop.is_set():
            raise Stopped
        self._progress.advance(self._task, received)


def from_maven(artifact: Artifact, folder: Path, watch: Watch) -> Path:
    from jgo.maven import MavenContext, PythonResolver

    logging.getLogger("jgo").setLevel(logging.CRITICAL)
    maven = MavenContext(resolver=PythonResolver(progress_callback=watch), repo_cache=folder, timeout=30)
    component = maven.project(artifact.group, artifact.name).at_version(artifact.version)
    found = component.artifact(classifier=artifact.classifier, packaging=artifact.packaging)
    return Path(found.resolve())


def check_sum(file: Path, artifact: Artifact) -> None:
    with file.open("rb") as opened:
        actual = hashlib.file_digest(opened, "sha256").hexdigest()
    if actual != artifact.sha256:
        raise WrongSum(artifact.filename, artifact.sha256, actual)
