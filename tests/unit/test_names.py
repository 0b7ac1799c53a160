"""The same names are understood in every command, and an unknown one is answered with those that exist."""

import importlib
import json
import os
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fanout import __version__, cli
from fanout.cli import COMMANDS
from fanout.errors import BadUsage, UnknownProcess, UnknownService
from fanout.help_text import flowing
from fanout.kafka_tail import unknown_topic
from fanout.names import matching, process_of, service_of
from fanout.repository import services
from tests.support.stack import REPOSITORY

PROCESSES = [
    *("kafka", "orders-api", "orders-worker", "fraud-worker", "dead_letters-worker", "dead_letters-api"),
    *("inventory-worker", "inventory-worker-2"),
]


@pytest.mark.parametrize(
    ("name", "process"),
    [
        ("fraud-worker", "fraud-worker"),
        ("fraud", "fraud-worker"),
        ("Fraud", "fraud-worker"),
        ("kafka", "kafka"),
        ("inventory-worker", "inventory-worker"),
        ("dead-letters-api", "dead_letters-api"),
    ],
)
def test_a_process_is_known_by_its_own_name_and_by_its_service(name: str, process: str) -> None:
    assert process_of(name, PROCESSES) == process


@pytest.mark.parametrize(
    ("name", "processes"),
    [("orders", "orders-api, orders-worker"), ("inventory", "inventory-worker, inventory-worker-2")],
)
def test_a_service_with_several_processes_is_asked_about(name: str, processes: str) -> None:
    with pytest.raises(BadUsage, match=f"^{name} has several processes, {processes}: say which$"):
        process_of(name, PROCESSES)
    assert matching(name, PROCESSES) == processes.split(", ")


def test_an_unknown_process_is_answered_with_those_that_exist() -> None:
    with pytest.raises(UnknownProcess) as unknown:
        process_of("fruad-worker", PROCESSES)
    assert str(unknown.value).startswith(
        "no process fruad-worker, did you mean fraud-worker; there are kafka, "
    )


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("frad", "fraud-worker"),
        ("Kafak", "kafka"),
        ("dead_leters-api", "dead_letters-api"),
        ("nothing", None),
    ],
)
def test_a_process_that_is_nearly_named_is_suggested_by_its_service_too(name: str, meant: str | None) -> None:
    with pytest.raises(
        UnknownProcess, match=f"^no process {name}{f', did you mean {meant}' if meant else ''}; "
    ):
        process_of(name, PROCESSES)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("nosuch", ""),
        ("ordes", ", did you mean orders"),
        ("orders.frad.dlq", ", did you mean orders.fraud.dlq"),
    ],
)
def test_an_unknown_topic_is_answered_with_the_topics_of_events_only(name: str, meant: str) -> None:
    known = ["orders.fraud.retry", "payments", "orders", "orders.fraud.dlq", "__consumer_offsets"]
    assert str(unknown_topic(name, known)) == f"no topic {name}{meant}; there are orders, payments"


@pytest.mark.parametrize("name", ["dead_letters", "dead-letters", "dead-letters-worker", "DEAD_LETTERS-api"])
def test_a_service_is_known_by_its_processes_too(name: str) -> None:
    assert service_of(name, services()) == "dead_letters"


def test_an_unknown_service_is_answered_with_those_that_exist() -> None:
    with pytest.raises(UnknownService, match=r"^no service billing; there are analytics, .*payments$"):
        service_of("billing", services())


def test_every_command_that_takes_a_name_takes_it_by_the_same_rules() -> None:
    """A new command with a service or a process imports them from fanout.names."""
    modules = {name: COMMANDS[name].split(":")[0] for name in COMMANDS}
    taking = {
        name
        for name, module in modules.items()
        if "fanout.names" in Path(str(importlib.import_module(module).__file__)).read_text()
    }
    assert {"start", "stop", "kill", "logs", "scale", "replay", "lag", "outbox"} <= taking


def completed(line: str, home: Path) -> list[str]:
    """Returns what bash is offered after TAB at the end of the line."""
    words = line.split(" ")
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), "_FANOUT_COMPLETE": "complete_bash"}
    done = subprocess.run(
        [sys.executable, "-m", "fanout"],
        cwd=REPOSITORY,
        env=os.environ | asked | {"FANOUT_HOME": str(home)},
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_a_shell_completes_commands_processes_and_services(tmp_path: Path) -> None:
    (tmp_path / "processes.json").write_text(json.dumps({name: {} for name in PROCESSES}))

    assert completed("fanout st", tmp_path) == ["status", "start", "stop"]
    assert completed("fanout kill in", tmp_path) == ["inventory-worker", "inventory-worker-2"]
    assert completed("fanout kill in", tmp_path / "none") == []
    assert completed("fanout replay an", tmp_path) == ["analytics"]
    assert completed("fanout outbox s", tmp_path) == ["show"]


def test_only_the_command_on_the_line_is_imported_to_complete_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_WORDS", "fanout kill in")
    assert cli._named(cli._completed()) == ["kill"]
    monkeypatch.setenv("COMP_WORDS", "fanout k")
    assert cli._named(cli._completed()) == list(COMMANDS)


def test_the_version_is_that_of_the_package() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fanout", "--version"], cwd=REPOSITORY, capture_output=True, text=True
    )
    declared = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    assert (done.returncode, done.stdout) == (0, f"fanout {declared}\n")
    assert declared == __version__


def test_a_paragraph_of_help_is_one_line_and_an_example_has_its_own() -> None:
    text = """Do it.

    It is long, and the docstring
    breaks it.

    Example: fanout one
    Example: fanout two
    """
    assert (
        flowing(text)
        == "Do it.\n\nIt is long, and the docstring breaks it.\n\nExample: fanout one\nExample: fanout two"
    )


@pytest.mark.parametrize("arguments", [["compare"], ["tail"], ["dlq", "edit"]])
def test_no_line_of_help_ends_early(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The first word of a line would not have fitted on the line before it."""
    monkeypatch.setenv("COLUMNS", "80")
    printed = CliRunner().invoke(cli._app(arguments[:1]), [*arguments, "--help"]).output
    lines = [line.strip() for line in printed.split("╭")[0].splitlines()]
    text = [pair for pair in pairwise(lines) if all(pair) and "Example:" not in "".join(pair)]
    assert text
    assert [line for line, after in text if len(f"{line} {after.split()[0]}") < 78] == []
