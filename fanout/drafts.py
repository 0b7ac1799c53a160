"""Keeps what a user wrote as the correction of a dead letter, until the dead letter is redriven or discarded."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fanout.local.stack_directory import current
from fanout.running import in_container


def draft_of(dead_letter_id: int) -> Path:
    """Returns the file for its correction, which need not exist, in a folder that only its owner can read."""
    folder = _folder() / str(dead_letter_id)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / f"dead-letter-{dead_letter_id}.json"


def delete_draft(dead_letter_id: int) -> None:
    """Deletes the file, if there is one, and what the editor left beside it."""
    shutil.rmtree(_folder() / str(dead_letter_id), ignore_errors=True)


def drafted() -> Iterator[int]:
    """Yields the ids of dead letters for which a text is kept."""
    if (folder := _folder()).is_dir():
        yield from sorted(int(each.name) for each in folder.iterdir() if each.name.isdecimal())


def _folder() -> Path:
    """Returns the folder of the stack; a container has no such directory, and its temporary folder ends with it."""
    return Path(tempfile.gettempdir()) / "fanout-edits" if in_container() else current().edits
