"""Reads the sums of published contracts from earlier commits: a contract and its sum cannot change together."""

import os
import subprocess
from pathlib import Path

from fanout.errors import BadUsage, FanoutError
from schemas.model import ContractError
from schemas.published import FILE, Sums, parse_sums

VARIABLE = "FANOUT_BASE"
MAIN = ("refs/remotes/origin/main", "refs/heads/main")
OF_ANOTHER_REPOSITORY = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_COMMON_DIR",
)
"""A hook runs with some of these set; they would lead away from the repository that is checked."""


def base_commits(repository: Path, given: str | None) -> list[str]:
    """Returns the commits whose contracts are published; none if this is no checkout of a commit.

    That is where this branch left the commit that is given, by option or in $FANOUT_BASE, or else main; on the main
    branch itself, HEAD and its parent. Raises BadUsage if the given one is unknown, FanoutError if git fails.
    """
    if not _is_repository(repository):
        return []
    given = given or os.environ.get(VARIABLE)
    if given and given.strip("0"):  # a CI server writes zeros for the commit before a branch
        commit = _commit(repository, given)
        if commit is None:
            raise BadUsage(
                f"there is no commit {given} to compare the contracts with: fetch it, or name another"
            )
        return [_fork(repository, commit) or commit]
    head = _commit(repository, "HEAD")
    if head is None:
        return []
    main = next(filter(None, (_commit(repository, name) for name in MAIN)), None)
    fork = main and _fork(repository, main)
    if fork and fork != head:
        return [fork]
    parent = _commit(repository, "HEAD^")
    return [head, parent] if parent else [head]


def published(repository: Path, commits: list[str]) -> Sums:
    """Returns the sums of the versions that were published in any of the commits."""
    sums: dict[str, str] = {}
    for commit in commits:
        name = f"schemas/{FILE}"
        if _git(repository, "ls-tree", "--name-only", commit, "--", name):
            try:
                sums.update(parse_sums(_git(repository, "show", f"{commit}:{name}")))
            except ContractError as error:
                raise FanoutError(f"{name} of commit {commit[:12]}: {error}") from error
    return sums


def _is_repository(repository: Path) -> bool:
    try:
        done = _run(repository, "rev-parse", "--is-inside-work-tree")
    except FileNotFoundError:  # git is not installed
        return False
    if done.returncode and "not a git repository" not in done.stderr:
        raise FanoutError(f"git cannot read {repository}: {' '.join(done.stderr.split())}")
    return done.returncode == 0


def _fork(repository: Path, commit: str) -> str | None:
    """Returns where HEAD left the commit; None if they have nothing in common."""
    return _run(repository, "merge-base", "HEAD", commit).stdout.strip() or None


def _commit(repository: Path, name: str) -> str | None:
    return _run(repository, "rev-parse", "--quiet", "--verify", f"{name}^{{commit}}").stdout.strip() or None


def _git(repository: Path, *arguments: str) -> str:
    done = _run(repository, *arguments)
    if done.returncode:
        raise FanoutError(f"git {arguments[0]} failed in {repository}: {' '.join(done.stderr.split())}")
    return done.stdout


def _run(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    ours = {name: value for name, value in os.environ.items() if name not in OF_ANOTHER_REPOSITORY}
    environment = ours | {"LC_ALL": "C"}
    command = ["git", "-C", str(repository), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True)
