"""A published version never changes: its sum is kept, and earlier commits are compared in case both changed."""

import os
import subprocess
from pathlib import Path

import pytest

from fanout.contracts import base
from fanout.errors import BadUsage, FanoutError
from schemas import gate, published
from schemas.published import Sums
from tests.support.thing_made import field, put, thing

ADDED = field("x", ["null", "int"], default=None)


@pytest.fixture
def contracts(tmp_path: Path) -> Path:
    """A contract with one version."""
    folder = tmp_path / "schemas"
    folder.mkdir()
    put(folder, thing())
    published.write_sums(folder, {})
    return folder


@pytest.fixture
def sums(contracts: Path) -> Sums:
    """The sums of what is published: that version."""
    return published.read_sums(contracts)


def whats(contracts: Path, sums: Sums) -> list[tuple[str, str]]:
    return [(problem.file, problem.what) for problem in published.problems(contracts, sums)]


def test_the_sums_are_those_of_sha256sum(contracts: Path, sums: Sums) -> None:
    assert whats(contracts, sums) == []
    command = ["sha256sum", "--check", "--strict", "--quiet", published.FILE]
    assert subprocess.run(command, cwd=contracts).returncode == 0


def test_a_changed_byte_of_a_published_version_is_a_problem(contracts: Path, sums: Sums) -> None:
    file = contracts / "thing_made" / "v1.avsc"
    file.write_text(file.read_text() + "\n")
    assert whats(contracts, sums) == [("thing_made/v1.avsc", "a published version was changed")]
    published.write_sums(contracts, {})
    assert ("thing_made/v1.avsc", "a published version was changed") in whats(contracts, sums)


def test_a_deleted_version_is_a_problem(contracts: Path, sums: Sums) -> None:
    (contracts / "thing_made" / "v1.avsc").unlink()
    assert whats(contracts, sums) == [("thing_made/v1.avsc", "a published version was deleted")]


def test_a_published_line_that_was_edited_is_a_problem(contracts: Path, sums: Sums) -> None:
    (contracts / published.FILE).write_text(f"{'0' * 64}  thing_made/v1.avsc\n")
    assert whats(contracts, sums) == [
        (published.FILE, "the line of thing_made/v1.avsc, which is published, was changed")
    ]
    published.write_sums(contracts, sums)
    assert whats(contracts, sums) == []


def test_a_draft_may_change_and_go_and_only_needs_its_line(contracts: Path, sums: Sums) -> None:
    put(contracts, thing(), version=2)
    assert whats(contracts, sums) == [("thing_made/v2.avsc", "it has no line in published.sha256")]
    published.write_sums(contracts, sums)
    assert whats(contracts, sums) == []
    put(contracts, thing(doc="Made anew."), version=2)
    out_of_date = [("thing_made/v2.avsc", "its line in published.sha256 is out of date")]
    assert whats(contracts, sums) == out_of_date
    (contracts / "thing_made" / "v2.avsc").unlink()
    assert whats(contracts, sums) == out_of_date
    published.write_sums(contracts, sums)
    assert whats(contracts, sums) == []


def test_a_published_sum_is_never_rewritten(contracts: Path, sums: Sums) -> None:
    put(contracts, thing(doc="Made anew."))
    published.write_sums(contracts, sums)
    assert published.read_sums(contracts) == sums


@pytest.mark.parametrize("text", [b"rubbish\n", b"<<<<<<< HEAD\n", b"\xff\n"])
def test_a_malformed_line_is_a_problem_that_writing_repairs(contracts: Path, sums: Sums, text: bytes) -> None:
    file = contracts / published.FILE
    file.write_bytes(file.read_bytes() + text)
    [(name, what)] = whats(contracts, sums)
    assert name == published.FILE and ("line 2 is not a sum" in what or "cannot be read" in what)
    published.write_sums(contracts, sums)
    assert whats(contracts, sums) == []


def test_a_retired_event_gets_no_further_version_and_says_why(contracts: Path, sums: Sums) -> None:
    (contracts / "thing_made" / "retired.md").write_text("\n")
    put(contracts, thing(topic="others"), version=2)
    found = {problem.file: problem.what for problem in published.problems_of_retired(contracts, sums)}
    assert found == {"thing_made/retired.md": "it is empty", "thing_made/v2.avsc": "the event is retired"}


@pytest.mark.parametrize("kind", ["link", "folder link", "broken link", "folder", "pipe"])
def test_a_version_is_a_regular_file(contracts: Path, sums: Sums, kind: str) -> None:
    """Behind a link a version could change while the link stays as it was committed."""
    second, elsewhere = contracts / "thing_made" / "v2.avsc", contracts.parent / "elsewhere"
    if kind == "link":
        elsewhere.write_text("{}")
        second.symlink_to(elsewhere)
    elif kind == "folder link":
        (contracts / "thing_made").rename(elsewhere)
        (contracts / "thing_made").symlink_to(elsewhere)
    elif kind == "broken link":
        second.symlink_to(elsewhere)
    elif kind == "folder":
        second.mkdir()
    else:
        os.mkfifo(second)
    found = gate.problems(contracts, sums)
    assert [each.what for each in found if "not a regular file" in each.what]


def test_a_folder_that_git_left_behind_with_a_cache_is_no_event(contracts: Path) -> None:
    (contracts / "thing_sold" / "__pycache__").mkdir(parents=True)
    assert [each for each in gate.contract_problems(contracts) if each.file.startswith("thing_sold")] == []


def git(repository: Path, *arguments: str) -> str:
    who = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(repository), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(contracts: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository on main whose second commit changes no contract."""
    monkeypatch.delenv(base.VARIABLE, raising=False)
    root = contracts.parent
    git(root, "init", "-q", "-b", "main")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "first")
    git(root, "commit", "-q", "--allow-empty", "-m", "second")
    return root


def found_in(repository: Path, given: str | None = None) -> list[tuple[str, str]]:
    commits = base.base_commits(repository, given)
    return whats(repository / "schemas", base.published(repository, commits))


def test_a_contract_that_changed_together_with_its_sum_is_a_problem(
    repository: Path, contracts: Path
) -> None:
    put(contracts, thing(ADDED))
    published.write_sums(contracts, {})
    for commit_it in (False, True):
        if commit_it:
            git(repository, "commit", "-q", "-a", "-m", "both")
        assert ("thing_made/v1.avsc", "a published version was changed") in found_in(repository)


def test_git_cannot_hide_a_change(repository: Path, contracts: Path) -> None:
    git(repository, "update-index", "--skip-worktree", "schemas/thing_made/v1.avsc")
    put(contracts, thing(ADDED))
    published.write_sums(contracts, {})
    assert ("thing_made/v1.avsc", "a published version was changed") in found_in(repository)


@pytest.mark.parametrize("main", ["refs/remotes/origin/main", "refs/heads/main"])
def test_a_branch_is_compared_with_where_it_left_main(repository: Path, contracts: Path, main: str) -> None:
    fork = git(repository, "rev-parse", "HEAD")
    git(repository, "checkout", "-q", "-b", "topic")
    git(repository, "branch", "-D", "-q", "main")
    git(repository, "update-ref", main, fork)
    for version in (2, 3):
        put(contracts, thing(), version=version)
        git(repository, "add", ".")
        git(repository, "commit", "-q", "-m", f"version {version}")
    put(contracts, thing(doc="A draft may change until it is on main."), version=2)
    assert base.base_commits(repository, None) == [fork]
    published.write_sums(contracts, base.published(repository, [fork]))
    assert found_in(repository) == []


def test_a_named_commit_is_where_the_branch_left_it(
    repository: Path, contracts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = git(repository, "rev-parse", "HEAD^")
    assert base.base_commits(repository, "HEAD^") == [first]
    monkeypatch.setenv(base.VARIABLE, "HEAD^")
    assert base.base_commits(repository, None) == [first]
    monkeypatch.setenv(base.VARIABLE, "0" * 40)
    assert len(base.base_commits(repository, None)) == 2
    git(repository, "checkout", "-q", "-b", "ahead")
    put(contracts, thing(), version=2)
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "a version that this branch does not have yet")
    git(repository, "checkout", "-q", "main")
    assert base.base_commits(repository, "ahead") == [git(repository, "rev-parse", "main")]
    with pytest.raises(BadUsage, match="there is no commit nonsense to compare the contracts with"):
        base.base_commits(repository, "nonsense")


def test_without_git_or_a_repository_there_is_nothing_to_compare_with(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (repository / ".git").rename(repository / "no.git")
    assert base.base_commits(repository, None) == []
    (repository / "no.git").rename(repository / ".git")
    monkeypatch.setenv("PATH", str(elsewhere))
    assert base.base_commits(repository, None) == []


def test_a_git_that_fails_does_not_pass_for_an_unchanged_contract(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as owned_by_another:
        owned_by_another.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
        owned_by_another.setenv("HOME", str(repository / "nowhere"))
        with pytest.raises(FanoutError, match=r"git cannot read .*dubious ownership"):
            base.base_commits(repository, None)
    monkeypatch.setenv("GIT_DIR", str(repository / "nowhere"))  # as in a hook of another repository
    commits = base.base_commits(repository, None)
    assert len(commits) == 2
    tree = git_of(repository, "rev-parse", f"{commits[0]}:schemas")
    (repository / ".git" / "objects" / tree[:2] / tree[2:]).unlink()
    with pytest.raises(FanoutError, match="git ls-tree failed"):
        base.published(repository, commits)


def git_of(repository: Path, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "GIT_DIR"}
    command = ["git", "-C", str(repository), *arguments]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()


def test_only_the_sums_of_the_commits_are_published(repository: Path, contracts: Path) -> None:
    put(contracts, thing(), version=2)
    published.write_sums(contracts, {})
    commits = base.base_commits(repository, None)
    assert list(base.published(repository, commits)) == ["thing_made/v1.avsc"]
