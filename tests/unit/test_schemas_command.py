"""`fanout schemas` from a copy of the repository, as a user runs it before a commit: no server is running."""

import json
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from fanout.repository import REPOSITORY

Result = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with the contracts of this repository in both of its commits."""
    root = tmp_path_factory.mktemp("checkout")
    for room in ("schemas", "chassis", "services", "fanout"):
        shutil.copytree(REPOSITORY / room, root / room, ignore=shutil.ignore_patterns("__pycache__"))
    git(root, "init", "-q", "-b", "main")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "first")
    git(root, "commit", "-q", "--allow-empty", "-m", "second")
    return root


@pytest.fixture
def repository(checkout: Path, tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    shutil.copytree(checkout, root)
    return root


def git(root: Path, *arguments: str) -> None:
    who = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(root), *who, *arguments], check=True)


def fanout(root: Path, *arguments: str) -> Result:
    command = [sys.executable, "-m", "fanout", "schemas", *arguments]
    home = {"FANOUT_HOME": str(root / "none"), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, cwd=root, env=home, capture_output=True, text=True, timeout=60)


def sha256_of(root: Path) -> str:
    return sha256((root / "schemas" / "order_placed" / "v1.avsc").read_bytes()).hexdigest()


def placed(root: Path, **changes: Any) -> dict[str, Any]:
    spec = json.loads((root / "schemas" / "order_placed" / "v1.avsc").read_text())
    return {**spec, "revision": 2, **changes}


def write(root: Path, spec: dict[str, Any], name: str = "schemas/order_placed/v2.avsc") -> Path:
    (root / name).write_text(json.dumps(spec, indent=2))
    return root / name


def added(spec: dict[str, Any], **field: Any) -> dict[str, Any]:
    return {**spec, "fields": [*spec["fields"], {"doc": "Something new.", **field}]}


def test_good_contracts_pass_in_one_sentence(repository: Path) -> None:
    done = fanout(repository, "check")
    assert (done.returncode, done.stdout) == (0, "")
    assert "10 events" in done.stderr and "all compatible both ways; unchanged since " in done.stderr


def test_a_breaking_version_is_refused_with_file_field_reason_and_remedy(repository: Path) -> None:
    write(repository, added(placed(repository), name="channel", type="string"))
    assert fanout(repository, "generate").returncode == 0
    done = fanout(repository, "check")
    assert done.returncode == 1
    assert (
        "schemas/order_placed/v2.avsc: OrderPlaced.channel: added without default; "
        "readers of v2 would fail on events of v1\n  instead: give it a default" in done.stdout
    )
    document = json.loads(fanout(repository, "check", "--json").stdout)
    assert [problem["path"] for problem in document["problems"]] == ["OrderPlaced.channel"]


def test_a_compatible_version_passes_after_the_types_are_generated(repository: Path) -> None:
    write(repository, added(placed(repository), name="coupon", type=["null", "string"], default=None))
    before = fanout(repository, "check")
    assert before.returncode == 1
    assert (
        "order_placed/v2.avsc: it has no line in published.sha256\n  instead: run `make schemas`"
        in before.stdout
    )
    assert fanout(repository, "generate").returncode == 0
    assert "SCHEMA_VERSION = 2" in (repository / "schemas" / "order_placed" / "__init__.py").read_text()
    after = fanout(repository, "check")
    assert after.returncode == 0, after.stdout
    history = fanout(repository, "history", "OrderPlaced")
    assert '+ OrderPlaced.coupon: {"type": ["null", "string"], ' in history.stdout


def test_a_published_version_cannot_change_not_even_with_its_sum(repository: Path) -> None:
    write(repository, placed(repository, doc="Another doc.", revision=1), "schemas/order_placed/v1.avsc")
    sums = repository / "schemas" / "published.sha256"
    done = fanout(repository, "check")
    assert done.returncode == 1 and "order_placed/v1.avsc: a published version was changed" in done.stdout
    before = sums.read_text()
    assert fanout(repository, "generate").returncode == 0
    assert sums.read_text() == before
    old = next(line for line in before.splitlines() if line.endswith("order_placed/v1.avsc"))
    sums.write_text(before.replace(old[:64], sha256_of(repository)))
    git(repository, "commit", "-q", "-a", "-m", "the version and its sum together")
    assert "order_placed/v1.avsc: a published version was changed" in fanout(repository, "check").stdout


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "not JSON: Expecting property name enclosed in double quotes: line 1 column 2"),
        ('{"type": "enum"}', "an event must be a record"),
        (
            '{"type": "record", "name": "OrderPlaced", "revision": 2, "fields": 3}',
            "the namespace must be fanout",
        ),
        ("\xff", "not JSON"),
        ("[" * 100_000, "not JSON that can be read: nested too deeply"),
    ],
)
def test_bad_input_is_a_sentence_with_the_file(repository: Path, text: str, complaint: str) -> None:
    (repository / "schemas" / "order_placed" / "v2.avsc").write_text(text)
    for command in ("check", "generate"):
        done = fanout(repository, command)
        said = done.stdout + done.stderr
        assert done.returncode == 1 and "Traceback" not in said and "unexpected" not in said
        assert "schemas/order_placed/v2.avsc: " in said and complaint in said


def test_an_unknown_type_is_named_with_its_field(repository: Path) -> None:
    write(repository, added(placed(repository), name="weight", type="decimal"))
    done = fanout(repository, "check")
    assert done.returncode == 1
    assert 'order_placed/v2.avsc: OrderPlaced.weight: the type "decimal" is not supported' in done.stdout


def test_a_file_that_is_not_utf_8_is_named(repository: Path) -> None:
    (repository / "schemas" / "order_placed" / "v2.avsc").write_bytes(b"\xff\xfe")
    done = fanout(repository, "check")
    assert done.returncode == 1 and "order_placed/v2.avsc: cannot be read: 'utf-8' codec" in done.stdout


def test_a_gap_and_a_strange_file_name_are_problems(repository: Path) -> None:
    write(repository, placed(repository), "schemas/order_placed/v3.avsc")
    done = fanout(repository, "check")
    assert "schemas/order_placed: needs v1.avsc, v2.avsc, ... without a gap" in done.stdout
    (repository / "schemas" / "order_placed" / "v3.avsc").rename(
        repository / "schemas" / "order_placed" / "next.avsc"
    )
    assert "the name must be v<number>.avsc" in fanout(repository, "check").stdout


def test_a_proposal_is_judged_and_nothing_is_written(repository: Path, tmp_path: Path) -> None:
    good = write(
        repository, added(placed(repository), name="coupon", type=["null", "string"], default=None), "good"
    )
    bad = write(repository, added(placed(repository), name="channel", type="string"), "bad")
    done = fanout(repository, "propose", str(good))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == (
        "OrderPlaced version 2\n  without a server: accepted\n  the registry:     not asked, it is not running\n"
    )
    refused = fanout(repository, "propose", str(bad))
    assert refused.returncode == 1
    assert "OrderPlaced.channel: added without default" in refused.stdout and "refused" in refused.stdout
    assert fanout(repository, "check").returncode == 0


BROKEN = ["<<<<<<< HEAD\n", "import schemas.gone\n"]


@pytest.mark.parametrize("text", BROKEN, ids=["a merge conflict", "a module that is gone"])
def test_generate_repairs_generated_code_that_cannot_be_imported(repository: Path, text: str) -> None:
    for file in ("__init__.py", "order_placed/__init__.py"):
        (repository / "schemas" / file).write_text(text)
    done = fanout(repository, "check")
    assert done.returncode == 1
    assert (
        "schemas/__init__.py: it cannot be imported: " in done.stdout and "run `make schemas`" in done.stdout
    )
    assert fanout(repository, "generate").returncode == 0
    assert fanout(repository, "check").returncode == 0


def test_a_draft_of_an_event_can_be_deleted_again(repository: Path) -> None:
    folder = repository / "schemas" / "order_wrapped"
    folder.mkdir()
    spec = placed(repository, name="OrderWrapped", revision=1)
    spec["fields"] = [field for field in spec["fields"] if field["name"] != "lines"]
    write(repository, spec, "schemas/order_wrapped/v1.avsc")
    assert fanout(repository, "generate").returncode == 0
    shutil.rmtree(folder)
    assert fanout(repository, "generate").returncode == 0
    assert fanout(repository, "check").returncode == 0


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"topic": "sales"}, "topic differs from v1.avsc"),
        ({"revision": 3}, 'add "revision": 2'),
        ({"name": "OrderUpdated", "revision": 1}, "the name does not say what happened"),
    ],
)
def test_a_proposal_is_refused_for_whatever_check_would_refuse(
    repository: Path, changes: dict[str, Any], complaint: str
) -> None:
    file = write(repository, placed(repository, **changes), "proposal.avsc")
    done = fanout(repository, "propose", str(file))
    assert done.returncode == 1 and complaint in done.stdout


def test_a_published_version_that_was_edited_is_no_good_proposal(repository: Path) -> None:
    file = write(repository, placed(repository, doc="Other.", revision=1), "schemas/order_placed/v1.avsc")
    done = fanout(repository, "propose", str(file))
    assert done.returncode == 1 and "a published version was changed" in done.stdout


@pytest.mark.parametrize("name", ["", "/etc", "../order_placed", "Ord\ud800er", "A" * 5000, 5])
def test_a_proposal_without_a_usable_name_is_one_sentence(repository: Path, name: Any) -> None:
    done = fanout(
        repository, "propose", str(write(repository, placed(repository, name=name), "proposal.avsc"))
    )
    assert done.returncode == 2 and done.stderr.startswith("error: ") and "unexpected" not in done.stderr


@pytest.mark.parametrize("default", ["NaN", "Infinity", "1e999", "1" + "0" * 309])
def test_a_default_that_is_no_finite_number_is_refused(repository: Path, default: str) -> None:
    spec = json.dumps(added(placed(repository), name="weight", type="double", default="HERE"))
    (repository / "schemas" / "order_placed" / "v2.avsc").write_text(spec.replace('"HERE"', default))
    for command in ("check", "generate", "check"):
        done = fanout(repository, command)
        assert done.returncode == 1 and "unexpected" not in done.stdout + done.stderr


@pytest.mark.parametrize("doc", ["a\u0000b", "a\ud800b", "a\u001bb"])
def test_a_text_that_cannot_be_source_code_is_refused(repository: Path, doc: str) -> None:
    write(repository, placed(repository, doc=doc))
    done = fanout(repository, "check")
    assert done.returncode == 1 and "order_placed/v2.avsc: not JSON: the text " in done.stdout


@pytest.mark.parametrize("nested", ["OrderConfirmed", "EVENTS"])
def test_a_part_never_has_the_name_of_an_event(repository: Path, nested: str) -> None:
    part = {
        "type": "record",
        "name": nested,
        "doc": "A part.",
        "fields": [{"name": "a", "type": "int", "doc": "A."}],
    }
    write(repository, added(placed(repository), name="part", type=["null", part], default=None))
    done = fanout(repository, "check")
    assert done.returncode == 1 and nested in done.stdout


def test_a_version_without_another_must_be_avro_too(repository: Path) -> None:
    spec = added(placed(repository), name="note", type=["null", "string"], default=None, aliases=["order_id"])
    write(repository, spec)
    done = fanout(repository, "check")
    assert done.returncode == 1 and "order_id" in done.stdout


def test_unknown_events_commits_and_a_stack_that_does_not_run_are_sentences(repository: Path) -> None:
    for arguments, complaint, code in (
        (
            ("history", "OrderPlacd"),
            "no event OrderPlacd, did you mean OrderPlaced; there are FraudAssessed, ",
            2,
        ),
        (("check", "--base", "nonsense"), "there is no commit nonsense", 2),
        (("diff",), "not running: fanout up", 1),
        (("show", "OrderPlaced"), "not running: fanout up", 1),
        (("register",), "not running: fanout up", 1),
        (("readers", "OrderPlaced"), "not running: fanout up", 1),
    ):
        done = fanout(repository, *arguments)
        assert (done.returncode, done.stdout) == (code, "") and complaint in done.stderr
