"""A copy of the repository with a stack of its own, for tests that change the code while it runs."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.stack import REPOSITORY, Stack, free_base


@contextmanager
def copied_tree(folder: Path, without: str = " ") -> Iterator[Stack]:
    """Yields the tree as it would be committed now, in a repository of its own, with a home and ports of its own.

    Files whose path begins with `without` are left out. The stack is not started; it is wiped in the end.
    """
    tree, home = folder / "tree", folder / "home"
    copy_of_the_tree(tree, without)
    git(tree, "init", "-q", "-b", "main")
    for _ in ("all", "a later one, since contracts are compared with the commit before"):
        commit(tree)
    given = {"FANOUT_HOME": str(home), "FANOUT_TEST_HOME": str(home), "FANOUT_PORT_BASE": str(free_base())}
    stack = Stack(home, os.environ | given, tree)
    try:
        yield stack
    finally:
        stack.fanout("down", "--wipe")


def copy_of_the_tree(tree: Path, without: str = " ") -> None:
    """Copies the files that would be committed now, but for those whose path begins with `without`."""
    for file in git(REPOSITORY, "ls-files", "-co", "--exclude-standard").splitlines():
        if (REPOSITORY / file).is_file() and not file.startswith(without):
            (tree / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / file, tree / file)


def with_command(stack: Stack) -> dict[str, str]:
    """Returns the environment in which `fanout` is the copy's."""
    folder = stack.home.parent / "bin"
    folder.mkdir(exist_ok=True)
    (folder / "fanout").write_text(f'#!/bin/sh\nexec {sys.executable} -m fanout "$@"\n')
    (folder / "fanout").chmod(0o755)
    return stack.environment | {"PATH": f"{folder}:{os.environ['PATH']}", "COLUMNS": "160"}


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


def commit(tree: Path) -> None:
    git(tree, "add", "-A")
    git(
        tree,
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@localhost",
        "commit",
        "-q",
        "--allow-empty",
        "-m",
        "All",
    )
