"""The cache: a file is found under its sha256 only once it was verified, so finding it is proof enough."""

import fcntl
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fanout.local.artifacts import Artifact


def folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fanout"


def path_of(artifact: Artifact) -> Path:
    """Where the artifact lies once stored: a file, or the unpacked folder of an archive."""
    stored = folder() / "artifacts" / artifact.sha256
    return stored / ("unpacked" if artifact.is_archive else artifact.filename)


def store(artifact: Artifact, file: Path) -> None:
    """Move a verified file (or what it unpacks to) to its place in one step."""
    place = path_of(artifact).parent
    place.parent.mkdir(parents=True, exist_ok=True)
    prepared = file.parent / f"{artifact.sha256}.prepared"
    prepared.mkdir()
    if artifact.is_archive:
        _unpack(file, prepared / "unpacked")
    else:
        os.replace(file, prepared / artifact.filename)
    os.replace(prepared, place)


def _unpack(file: Path, target: Path) -> None:
    with tarfile.open(file) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
        archive.extractall(target)


@contextmanager
def workspace() -> Iterator[Path]:
    """A temporary folder inside the cache, for one process at a time; leftovers of a killed one are removed."""
    unfinished = folder() / "unfinished"
    unfinished.mkdir(parents=True, exist_ok=True)
    with (folder() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in unfinished.iterdir():
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=unfinished) as temporary:
            yield Path(temporary)
