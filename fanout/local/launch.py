"""`python launch.py NAME`, run in the stack directory: becomes the process NAME that processes.json describes.

Supervisor starts every process so, because its configuration cannot hold every path: ` #` and ` ;` end a value there,
and % and quotes mean something. Imports nothing of ours: it runs before the process knows where our code is.

Before that it notes which code the process starts with, so that `fanout up` knows later what has changed.
"""

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path

FILE = "processes.json"
NOTES = "code"
"""The folder of notes: for each process, the sums of the files that it was started with."""
SUFFIXES = (".py", ".avsc")
NOT_LOADED = ("__pycache__", "migrations", "revisions")
SETTINGS = ("FANOUT_PYTHON", "FANOUT_LAUNCH", "FANOUT_DESCRIBED")
COMMAND = 'exec "$FANOUT_PYTHON" -I -S "$FANOUT_LAUNCH" '
"""Run by a shell, so that neither path is in supervisor's configuration."""


def main() -> None:
    name = sys.argv[1]
    described = json.loads(Path(FILE).read_text(encoding="ascii"))[name]
    with contextlib.suppress(OSError):  # a full disk is no reason not to start
        _note(name, sums(Path(described["folder"]), described.get("code", [])))
    inherited = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    os.chdir(described["folder"])
    os.execvpe(described["command"][0], described["command"], inherited | described["environment"])


def _note(name: str, found: dict[str, str]) -> None:
    """Replaces the note in one step, since somebody may be reading it."""
    os.makedirs(NOTES, exist_ok=True)
    fresh = Path(NOTES, f"{name}.new")
    fresh.write_text(json.dumps(found), encoding="ascii")
    os.replace(fresh, Path(NOTES, f"{name}.json"))


def sums(root: Path, folders: Iterable[str]) -> dict[str, str]:
    """Returns a sum of the contents of each file that a process may load, by its path below `root`.

    Migrations and tests are not loaded by any process.
    """
    found = {}
    for folder in folders:
        for place, inner, names in os.walk(root / folder):
            inner[:] = [name for name in inner if name not in NOT_LOADED]
            for name in names:
                if name.endswith(SUFFIXES) and not name.startswith("test_"):
                    with contextlib.suppress(OSError):  # an editor may just be replacing it
                        file = Path(place, name)
                        path = file.relative_to(root).as_posix()
                        found[path] = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    return found


if __name__ == "__main__":
    main()
