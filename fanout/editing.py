"""Opens a JSON document in the user's editor until it is accepted, and never loses what he wrote."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import typer

from fanout.console import say
from fanout.errors import BadUsage, FanoutError, RefusedInput

FALLBACKS = ("nano", "vi")


class Unchanged(Exception):
    """The user left the document as it was."""


def edit_until_accepted(
    document: Mapping[str, Any], name: str, accept: Callable[[dict[str, Any]], object]
) -> None:
    """Calls `accept` with the edited document, and after a RefusedInput lets the user edit again.

    The file is deleted once its document is accepted. Every FanoutError says where it is kept.
    """
    file = Path(tempfile.mkdtemp(prefix="fanout-")) / f"{name}.json"
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    file.write_text(text, encoding="utf-8")
    try:
        while True:
            _open(file)
            if (refused := _refused(file, text, accept)) is None:
                break
            if not (sys.stdin.isatty() and _again(refused)):
                raise refused
    except Unchanged:
        shutil.rmtree(file.parent)
        raise BadUsage("nothing was changed, so nothing was sent") from None
    except FanoutError as error:
        if file.read_text(encoding="utf-8", errors="replace") == text:
            shutil.rmtree(file.parent)
            raise
        kept = f"{error}; nothing was sent, what you edited is kept in {file}"
        raise (BadUsage if error.exit_code == BadUsage.exit_code else FanoutError)(kept) from error
    shutil.rmtree(file.parent)


def _refused(file: Path, text: str, accept: Callable[[dict[str, Any]], object]) -> FanoutError | None:
    """Returns why the document was not accepted, None if it was."""
    edited = file.read_text(encoding="utf-8", errors="replace")
    if edited == text:
        raise Unchanged
    try:
        document = json.loads(edited)
    except ValueError as error:
        return BadUsage(f"this is not JSON: {error}")
    if not isinstance(document, dict):
        return BadUsage("this is not a JSON object: it must begin with { and end with }")
    try:
        accept(document)
    except RefusedInput as refused:
        return refused
    return None


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
