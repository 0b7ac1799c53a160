"""Compares the contracts with an earlier commit, so that a contract and its published sum cannot change together."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from fanout.errors import BadUsage
from schemas.problem import Problem
from schemas.published import ADD_ONE, FILE

VARIABLE = "FANOUT_BASE"
VERSIONS = ":(glob)schemas/*/v*.avsc"


def base_commit(repository: Path, given: str | None) -> str | None:
    """Returns the commit whose contracts are published; None if this is no checkout with an earlier commit.

    It is the one that is given, by option or in $FANOUT_BASE; or where this branch left origin/main; or, on the
    main branch itself, HEAD if a contract differs from it, else its parent. Raises BadUsage for an unknown commit.
    """
    given = given or os.environ.get(VARIABLE)
    if given and given.strip("0"):  # a CI server writes zeros for the commit before a branch
        if commit := _commit(repository, given):
            return commit
        raise BadUsage(f"there is no commit {given} to compare the contracts with: fetch it, or name another")
    head = _commit(repository, "HEAD")
    if head is None:
        return None
    fork = _git(repository, "merge-base", "HEAD", "origin/main").strip()
    if fork and fork != head:
        return fork
    return head if _changed(repository, head) else _commit(repository, "HEAD^")


def problems(repository: Path, commit: str) -> Iterator[Problem]:
    """Yields a problem for each version of the commit that was changed or deleted since."""
    for status, name in _changed(repository, commit):
        if status != "A":
            what = "deleted" if status == "D" else "changed"
            yield Problem(name, "", f"a version published in {commit[:12]} was {what}", ADD_ONE)


def published(repository: Path, commit: str | None) -> set[str]:
    """Returns the versions that have a line in the commit's file of sums."""
    lines = _git(repository, "show", f"{commit}:schemas/{FILE}").splitlines() if commit else []
    return {line.split("  ", 1)[-1] for line in lines}


def _changed(repository: Path, commit: str) -> list[tuple[str, str]]:
    """Returns (A, M, D or T, path below schemas/) of the versions that differ from the commit's."""
    lines = _git(repository, "diff", "--name-status", "--no-renames", commit, "--", VERSIONS).splitlines()
    pairs = (line.split("\t", 1) for line in lines)
    return [(status, name.removeprefix("schemas/")) for status, name in pairs]


def _commit(repository: Path, name: str) -> str | None:
    return _git(repository, "rev-parse", "--quiet", "--verify", f"{name}^{{commit}}").strip() or None


def _git(repository: Path, *arguments: str) -> str:
    """Returns what git prints; an empty text if it fails, is not installed, or this is no repository."""
    try:
        done = subprocess.run(["git", "-C", str(repository), *arguments], capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return done.stdout if done.returncode == 0 else ""
