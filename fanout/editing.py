"""Opens a JSON document in the user's editor until it is accepted, and never loses what he wrote."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import typer

from fanout.console import say
from fanout.errors import BadUsage, FanoutError, RefusedInput
from fanout.local.stack_directory import write_private

Accepted = TypeVar("Accepted")

FALLBACKS = ("nano", "vi")


class Unchanged(Exception):
    """The user left the document as it was."""


class BadDocument(BadUsage):
    """What the user wrote is no JSON object."""


def edit_until_accepted(
    document: Mapping[str, Any], file: Path, accept: Callable[[dict[str, Any]], Accepted], otherwise: str
) -> Accepted:
    """Returns what `accept` returns of the edited document; after a RefusedInput the user can edit again.

    Begins with what `file` holds from an earlier time. What is not accepted is kept there, and every FanoutError says
    so, and that `otherwise` takes the file. Its folder, which must be its own, is deleted when nothing is to be kept.
    """
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    if _is_edited(file, text):
        say(
            f"going on from what you wrote before, kept in {file}: once that file is deleted, you begin again"
        )
    else:
        write_private(file, text)
    try:
        accepted = _edit(file, text, accept)
    except Unchanged:
        shutil.rmtree(file.parent)
        raise BadUsage("nothing was changed, so nothing was sent") from None
    except FanoutError as error:
        if not _is_edited(file, text):
            shutil.rmtree(file.parent)
            raise
        command = otherwise.replace("FILE", shlex.quote(str(file)))
        kept = (
            f"{error}; nothing was sent, what you edited is kept in {file}: the next edit goes on from it, {command} "
            "takes it as it is"
        )
        raise (BadUsage if error.exit_code == BadUsage.exit_code else FanoutError)(kept) from error
    shutil.rmtree(file.parent, ignore_errors=True)
    return accepted


def _edit(file: Path, text: str, accept: Callable[[dict[str, Any]], Accepted]) -> Accepted:
    while True:
        _open(file)
        try:
            return accept(_document(file, text))
        except (BadDocument, RefusedInput) as refused:
            if not (sys.stdin.isatty() and _again(refused)):
                raise


def _is_edited(file: Path, text: str) -> bool:
    return file.exists() and _read(file) != text


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")


def _document(file: Path, text: str) -> dict[str, Any]:
    """Returns the edited document. Raises Unchanged or BadDocument."""
    if (edited := _read(file)) == text:
        raise Unchanged
    try:
        document = json.loads(edited)
    except ValueError as error:
        raise BadDocument(f"this is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise BadDocument("this is not a JSON object: it must begin with { and end with }")
    return document


def _open(file: Path) -> None:
    """Runs $VISUAL or $EDITOR, which may have options. Raises BadUsage if there is none or it fails."""
    command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or _installed())
    try:
        code = subprocess.run([*command, str(file)], check=False).returncode
    except OSError as error:
        raise BadUsage(f"the editor {command[0]} cannot be run ({error.strerror}): set EDITOR") from error
    if code:
        raise BadUsage(f"the editor {command[0]} ended with exit code {code}")


def _installed() -> str:
    if found := next(filter(shutil.which, FALLBACKS), None):
        return found
    raise BadUsage("there is no editor: set EDITOR, or see fanout dlq redrive --correct")


def _again(refused: FanoutError) -> bool:
    say(f"not accepted: {refused}")
    return typer.confirm("Edit again?", default=True, err=True)
