"""What counts as changed code of a process, and how code that cannot be imported is named."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fanout.local import code, launch, trial
from fanout.local.ports import Ports
from fanout.local.process import Process
from fanout.local.reload import irrevocable
from fanout.local.stack_directory import StackDirectory
from fanout.local.start import already_running, migrated, pids, start_services
from fanout.local.supervisor import State
from fanout.local.topology import StackSpec
from fanout.repository import REPOSITORY

FRAUD, ORDERS = (Process(f"{name}-worker", [], service=name) for name in ("fraud", "orders"))


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small repository, whose fraud-worker and orders-worker have just been started."""
    tree = tmp_path / "tree"
    for file in (
        "chassis/worker.py",
        "schemas/v1.avsc",
        "services/fraud/domain.py",
        "services/orders/domain.py",
    ):
        (tree / file).parent.mkdir(parents=True, exist_ok=True)
        (tree / file).write_text("1\n")
    monkeypatch.setattr(code, "REPOSITORY", tree)
    started(tree, FRAUD)
    started(tree, ORDERS)
    return tree


def started(tree: Path, process: Process) -> None:
    """Runs the launcher, in the stack directory, as supervisor does."""
    directory = tree.parent / "home"
    directory.mkdir(exist_ok=True)
    described = {"command": ["true"], "folder": str(tree), "environment": {}, "code": process.code}
    (directory / launch.FILE).write_text(json.dumps({process.name: described}))
    command = [sys.executable, "-I", "-S", launch.__file__, process.name]
    subprocess.run(command, cwd=directory, check=True)


def changed(tree: Path) -> dict[str, list[str]]:
    return code.changed(StackDirectory(tree.parent / "home"), [FRAUD, ORDERS])


def test_nothing_has_changed_since_the_start_whatever_the_times_of_the_files(tree: Path) -> None:
    for file in tree.rglob("*"):
        os.utime(file, (0, 0))
    assert changed(tree) == {}


def test_a_service_concerns_its_own_processes_and_the_chassis_and_schemas_all_of_them(tree: Path) -> None:
    (tree / "services/fraud/domain.py").write_text("2\n")
    assert changed(tree) == {"fraud-worker": ["services/fraud/domain.py"]}
    for shared in ("chassis/worker.py", "schemas/v1.avsc"):
        (tree / shared).write_text("2\n")
    both = ["chassis/worker.py", "schemas/v1.avsc"]
    assert changed(tree) == {"fraud-worker": [*both, "services/fraud/domain.py"], "orders-worker": both}


def test_files_that_are_new_or_gone_count_and_what_was_taken_back_does_not(tree: Path) -> None:
    new, gone = tree / "services/orders/models.py", tree / "services/orders/domain.py"
    new.write_text("")
    gone.unlink()
    assert changed(tree) == {"orders-worker": ["services/orders/domain.py", "services/orders/models.py"]}
    new.unlink()
    gone.write_text("1\n")
    assert changed(tree) == {}


@pytest.mark.parametrize(
    "file", ["migrations/0002_more.py", "test_fraud.py", "notes.md", "__pycache__/domain.py"]
)
def test_what_no_process_loads_does_not_count(tree: Path, file: str) -> None:
    (tree / "services/fraud" / file).parent.mkdir(exist_ok=True)
    (tree / "services/fraud" / file).write_text("2\n")
    assert changed(tree) == {}


def test_a_process_that_supervisor_started_again_has_the_new_code(tree: Path) -> None:
    (tree / "services/fraud/domain.py").write_text("2\n")
    started(tree, FRAUD)
    assert changed(tree) == {}


def test_a_process_that_could_not_note_its_code_starts_and_is_left_alone(tree: Path) -> None:
    notes = tree.parent / "home" / launch.NOTES
    for note in notes.iterdir():
        note.unlink()
    notes.rmdir()
    notes.write_text("in the way")
    started(tree, FRAUD)
    notes.unlink()
    assert changed(tree) == {}


def test_a_restart_names_the_process_and_the_file() -> None:
    assert code.sentence("fraud-worker", ["a.py"]) == "restarted fraud-worker: a.py changed"
    assert (
        code.sentence("fraud-worker", ["a.py", "b.py"]) == "restarted fraud-worker: a.py and 1 more changed"
    )


def test_code_that_cannot_be_parsed_is_named_with_its_line() -> None:
    with pytest.raises(SyntaxError) as raised:
        compile("x = 1\ndef (", f"{REPOSITORY}/services/fraud/domain.py", "exec")
    assert trial.sentence(raised.value) == "services/fraud/domain.py, line 2: invalid syntax"


def test_an_error_of_an_import_is_named_with_the_line_of_our_code_that_led_to_it() -> None:
    code_of_a_service = compile(
        "\nimport json\njson.loads('')", f"{REPOSITORY}/services/fraud/tables.py", "exec"
    )
    with pytest.raises(ValueError) as raised:
        exec(code_of_a_service)
    said = trial.sentence(raised.value)
    assert said.startswith("services/fraud/tables.py, line 3: JSONDecodeError: Expecting value")


def test_services_that_can_be_imported_pass_the_trial() -> None:
    trial.require_importable(["fraud", "orders"])


@pytest.mark.parametrize(
    ("path", "done"),
    [
        ("services/fraud/migrations/0002_more.py", "runs it"),
        ("chassis/revisions/0009_more.py", "runs it"),
        ("schemas/order_placed/v3.avsc", "registers it"),
        ("services/fraud/service.py", ""),
        ("services/fraud/migrations/notes.md", ""),
    ],
)
def test_what_cannot_be_taken_back_is_left_to_up(path: str, done: str) -> None:
    assert irrevocable(path) == done


def state(name: str, pid: int) -> State:
    return State(name, "RUNNING" if pid else "STOPPED", pid, 0)


class Supervised:
    """In place of supervisor: starts what has no pid, with the pid 99, and anew what was stopped."""

    def __init__(self, states: list[State]) -> None:
        self.pids = {each.name: each.pid for each in states}

    def states(self) -> list[State]:
        return [state(name, pid) for name, pid in self.pids.items()]

    def state(self, name: str) -> State:
        return state(name, self.pids[name])

    def stop(self, names: set[str]) -> None:
        self.pids |= dict.fromkeys(names, 0)

    def start(self, name: str) -> None:
        self.pids[name] = self.pids[name] or 99

    def wait_ready(self, name: str, is_ready: object) -> None:
        assert self.pids[name]


def test_up_says_what_it_started_and_restarted_and_how_many_went_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = StackSpec.build(StackDirectory(tmp_path), Ports(9000))
    names = [process.name for process in spec.service_processes()]
    before = [state(name, 0 if name == "fraud-worker" else number) for number, name in enumerate(names, 1)]
    supervisor = Supervised(before)

    start_services(supervisor, spec, {"orders-worker": ["a.py"]}, before=pids(before))  # type: ignore[arg-type]

    assert capsys.readouterr().err.splitlines() == [
        "fraud-worker is ready",
        "restarted orders-worker: a.py changed",
    ]
    went_on = already_running(before, supervisor.states())
    assert went_on == f"everything else was already running ({len(names) - 2})"


def test_up_says_in_one_line_that_everything_ran_already() -> None:
    states = [state("kafka", 1), state("orders-api", 2)]
    assert already_running(states, states) == "everything was already running (2)"
    assert already_running([state("kafka", 0)], [state("kafka", 3)]) == ""


def test_up_says_whose_migrations_ran() -> None:
    said = migrated(["orders: chassis_version", "orders: alembic_version", "fraud: subscriptions"])
    assert said == "migrations are done: orders"
    assert migrated([]) == "migrations are done: none was new"
