"""An error about a server that does not answer says what to do, where the tool runs."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import typer

from fanout import cli, stopped
from fanout.commands import verify
from fanout.errors import Unreachable
from fanout.local.supervisor import State, Supervisor
from fanout.running import ADDRESSES, Addresses
from fanout.verify.report import Report

PLACE = "127.0.0.1:8032"
ADDRESSES_OF_STACK = Addresses(
    kafka="127.0.0.1:8092",
    registry_url="http://127.0.0.1:8081",
    databases={"orders": f"postgresql+asyncpg://orders:x@{PLACE}/orders"},
    apis={"dead_letters": "http://127.0.0.1:8006"},
    workers={},
)
DATABASE = Unreachable("the database of orders", PLACE)


@pytest.fixture(autouse=True)
def stack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """The states that the supervisor of a local stack reports, by process; all run unless a test changes it."""
    states = dict.fromkeys(("kafka", "registry", "postgres", "dead_letters-api"), "RUNNING")
    monkeypatch.setenv("FANOUT_HOME", str(tmp_path))
    monkeypatch.delenv(ADDRESSES, raising=False)
    (tmp_path / "stack.json").write_text(json.dumps(asdict(ADDRESSES_OF_STACK)))
    monkeypatch.setattr(Supervisor, "answers", lambda _: True)
    monkeypatch.setattr(
        Supervisor, "states", lambda _: [State(name, state, 0, 0) for name, state in states.items()]
    )
    return states


@pytest.mark.parametrize(
    ("error", "process", "remedy"),
    [
        (DATABASE, "postgres", "postgres is stopped: fanout start postgres"),
        (Unreachable("Kafka", "127.0.0.1:8092"), "kafka", "Kafka is stopped: fanout start kafka"),
        (
            Unreachable("the schema registry", "http://127.0.0.1:8081"),
            "registry",
            "registry is stopped: fanout start registry",
        ),
        (
            Unreachable("the API of dead_letters", "http://127.0.0.1:8006/"),
            "dead_letters-api",
            "dead_letters-api is stopped: fanout start dead_letters-api",
        ),
    ],
)
def test_a_stopped_server_is_named_with_how_to_start_it(
    stack: dict[str, str],
    error: Unreachable,
    process: str,
    remedy: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stack[process] = "STOPPED"
    assert cli._say(error) == 2
    assert capsys.readouterr().err == f"error: {error.what} does not answer at {error.address}: {remedy}\n"


def test_a_server_that_should_run_is_looked_up_in_the_status(stack: dict[str, str]) -> None:
    stack["kafka"] = "STOPPED"
    assert str(stopped.explained(DATABASE)).endswith(f"at {PLACE}: see fanout status")


def test_a_server_outside_the_stack_is_not_taken_for_one_of_it(stack: dict[str, str]) -> None:
    stack["kafka"] = "STOPPED"
    assert str(stopped.explained(Unreachable("Kafka", "elsewhere:9092"))).endswith(": see fanout status")


def test_in_a_container_docker_compose_is_asked(
    stack: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stack["postgres"] = "STOPPED"
    monkeypatch.setenv(ADDRESSES, "/addresses.json")
    assert str(stopped.explained(DATABASE)).endswith(f"at {PLACE}: see docker compose ps")
    assert stopped.sentence("postgres") == ""


@pytest.mark.parametrize(("state", "is_said"), [("STOPPED", True), ("RUNNING", False)])
def test_verify_says_that_events_in_flight_wait_for_kafka(
    stack: dict[str, str],
    state: str,
    is_said: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def audited(*_: object, **__: object) -> Report:
        return Report([], [], [], {"orders": 1})

    stack["kafka"] = state
    monkeypatch.setattr(verify, "audit", audited)
    with pytest.raises(typer.Exit):
        verify.command()
    assert ("Kafka is stopped: fanout start kafka" in capsys.readouterr().err) == is_said
