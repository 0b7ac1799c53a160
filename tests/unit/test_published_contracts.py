"""A published version never changes: its sum is kept, and the commit before is compared in case both changed."""

import subprocess
from pathlib import Path

import pytest

from fanout.contracts import base
from fanout.errors import BadUsage
from schemas import published
from tests.support.thing_made import field, put, thing


@pytest.fixture
def contracts(tmp_path: Path) -> Path:
    """A contract with one published version."""
    folder = tmp_path / "schemas"
    folder.mkdir()
    put(folder, thing())
    published.write_sums(folder, ())
    return folder


def whats(contracts: Path) -> list[tuple[str, str]]:
    return [(problem.file, problem.what) for problem in published.problems(contracts)]


def test_the_sums_are_those_of_sha256sum(contracts: Path) -> None:
    assert whats(contracts) == []
    command = ["sha256sum", "--check", "--strict", "--quiet", published.FILE]
    assert subprocess.run(command, cwd=contracts).returncode == 0


def test_a_changed_byte_of_a_published_version_is_a_problem(contracts: Path) -> None:
    file = contracts / "thing_made" / "v1.avsc"
    file.write_text(file.read_text() + "\n")
    assert whats(contracts) == [("thing_made/v1.avsc", "a published version was changed")]


def test_a_deleted_version_is_a_problem(contracts: Path) -> None:
    (contracts / "thing_made" / "v1.avsc").unlink()
    assert whats(contracts) == [("thing_made/v1.avsc", "a published version was deleted")]


def test_a_new_version_needs_a_line(contracts: Path) -> None:
    put(contracts, thing(), version=2)
    assert whats(contracts) == [("thing_made/v2.avsc", "it has no line in published.sha256")]
    published.write_sums(contracts, published.read_sums(contracts))
    assert whats(contracts) == []


def test_a_malformed_line_is_a_problem(contracts: Path) -> None:
    (contracts / published.FILE).write_text("rubbish\n")
    [(file, what)] = whats(contracts)
    assert file == published.FILE and "a line is not `sum  path`" in what


def test_a_published_sum_is_never_rewritten_and_that_of_a_draft_is(contracts: Path) -> None:
    fixed = set(published.read_sums(contracts))
    put(contracts, thing(), version=2)
    published.write_sums(contracts, fixed)
    for version in (1, 2):
        put(contracts, thing(doc="Made anew."), version=version)
    published.write_sums(contracts, fixed)
    (contracts / "thing_made" / "v2.avsc").unlink()
    published.write_sums(contracts, fixed)
    assert whats(contracts) == [("thing_made/v1.avsc", "a published version was changed")]


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


def change_contract_and_sum(contracts: Path) -> None:
    put(contracts, thing(field("x", ["null", "int"], default=None)))
    published.write_sums(contracts, ())
    assert whats(contracts) == []


def test_a_contract_that_changed_together_with_its_sum_is_a_problem(
    repository: Path, contracts: Path
) -> None:
    before = git(repository, "rev-parse", "HEAD")
    change_contract_and_sum(contracts)
    for commit_it in (False, True):
        if commit_it:
            git(repository, "commit", "-q", "-a", "-m", "both")
        assert base.base_commit(repository, None) == before
        [problem] = base.problems(repository, before)
        assert problem.file == "thing_made/v1.avsc"
        assert problem.what == f"a version published in {before[:12]} was changed"


def test_a_deleted_contract_is_a_problem_and_a_new_one_is_none(repository: Path, contracts: Path) -> None:
    before = git(repository, "rev-parse", "HEAD")
    put(contracts, thing(), version=2)
    git(repository, "add", ".")
    assert list(base.problems(repository, before)) == []
    (contracts / "thing_made" / "v1.avsc").unlink()
    [problem] = base.problems(repository, before)
    assert problem.what == f"a version published in {before[:12]} was deleted"


def test_a_branch_is_compared_with_where_it_left_main(repository: Path, contracts: Path) -> None:
    fork = git(repository, "rev-parse", "HEAD")
    git(repository, "update-ref", "refs/remotes/origin/main", fork)
    git(repository, "checkout", "-q", "-b", "topic")
    for version in (2, 3):
        put(contracts, thing(), version=version)
        git(repository, "add", ".")
        git(repository, "commit", "-q", "-m", f"version {version}")
    put(contracts, thing(doc="A draft may change until it is on main."), version=2)
    assert base.base_commit(repository, None) == fork
    assert list(base.problems(repository, fork)) == []


def test_a_commit_can_be_named(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = git(repository, "rev-parse", "HEAD^")
    assert base.base_commit(repository, "HEAD^") == first
    monkeypatch.setenv(base.VARIABLE, "HEAD^")
    assert base.base_commit(repository, None) == first
    with pytest.raises(BadUsage, match="there is no commit nonsense to compare the contracts with"):
        base.base_commit(repository, "nonsense")


def test_without_an_earlier_commit_there_is_nothing_to_compare_with(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(repository, "checkout", "-q", "--orphan", "new")
    git(repository, "commit", "-q", "-m", "only")
    assert base.base_commit(repository, None) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert base.base_commit(repository, None) is None


def test_only_the_sums_of_the_base_are_published(repository: Path, contracts: Path) -> None:
    put(contracts, thing(), version=2)
    published.write_sums(contracts, ())
    assert base.published(repository, "HEAD") == {"thing_made/v1.avsc"}
