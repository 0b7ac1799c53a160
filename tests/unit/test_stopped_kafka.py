"""A command that needs a stopped process says so at once, and neither waits nor changes anything."""

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from fanout.cli import _app
from fanout.commands import poison, tail
from fanout.errors import FanoutError
from fanout.local import stopped
from fanout.local.supervisor import Supervisor
from tests.support.principals import addresses_of

UP = {"kafka": False, "orders-api": False, "orders-worker": False, "inventory-worker": False}


class Beyond(Exception):
    """The command goes on to what it would wait for."""


@pytest.fixture
def down(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """Which processes are down, for the commands, which fail as soon as they go on."""
    down = dict(UP)
    monkeypatch.setattr(stopped, "down_by_process", lambda: down)

    def go_on(*_: object) -> Any:
        raise Beyond

    for command in (tail, poison):
        monkeypatch.setattr(command, "running", lambda: addresses_of({}))
    monkeypatch.setattr("fanout.running.running", lambda: SimpleNamespace(databases={"fraud": ""}))
    monkeypatch.setattr(tail, "arriving", go_on)
    monkeypatch.setattr(poison, "_truncation", go_on)
    monkeypatch.setattr("fanout.local.topology.StackSpec.of_running", go_on)
    return down


def error_of(*arguments: str) -> BaseException | None:
    return CliRunner().invoke(_app([arguments[0]]), arguments).exception


COMMANDS = [("tail",), ("poison",), ("replay", "fraud")]


@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_command_that_needs_kafka_says_that_it_is_stopped(
    down: dict[str, bool], arguments: tuple[str, ...]
) -> None:
    down["kafka"] = True
    error = error_of(*arguments)
    assert isinstance(error, FanoutError) and error.exit_code == 2
    assert str(error) == "Kafka is stopped: fanout start kafka"


def test_poison_says_which_of_the_processes_behind_an_order_is_stopped(down: dict[str, bool]) -> None:
    down["inventory-worker"] = True
    assert str(error_of("poison")) == "inventory-worker is stopped: fanout start inventory-worker"


@pytest.mark.parametrize(
    ("down", "name"),
    [
        ({"kafka": False}, None),
        ({}, None),
        ({"inventory-worker": True, "inventory-worker-2": False}, None),
        ({"inventory-worker": True, "inventory-worker-2": True}, "inventory-worker"),
        ({"inventory-worker-old": True}, None),
    ],
)
def test_workers_are_stopped_when_all_of_them_are(down: Mapping[str, bool], name: str | None) -> None:
    assert stopped.first_stopped(["kafka", "inventory-worker"], down) == name


async def test_poison_notices_a_stop_while_it_waits_and_shows_that_it_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    down, said = dict(UP), []
    monkeypatch.setattr(stopped, "down_by_process", lambda: down)
    monkeypatch.setattr(poison, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(poison, "USUAL_SECONDS", 0.02)

    def tell(text: str) -> None:
        said.append(text)
        down["kafka"] = len(said) == 3

    async with asyncio.timeout(10):
        with pytest.raises(FanoutError, match="Kafka is stopped"):
            await poison._reserved(asyncio.get_running_loop().create_future(), tell)
    assert len(said) == 3 and "waiting until inventory reserves" in said[0]


async def test_poison_returns_the_message_when_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopped, "down_by_process", lambda: UP)
    whole: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.01, whole.set_result, {"order_id": "o-1"})
    assert await poison._reserved(whole, lambda _: None) == {"order_id": "o-1"}


def test_where_no_supervisor_answers_nothing_is_called_stopped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("FANOUT_HOME", str(tmp_path / "none"))
    assert stopped.down_by_process() == {}
    monkeypatch.setenv("FANOUT_ADDRESSES", str(tmp_path / "addresses.json"))
    monkeypatch.setattr(Supervisor, "states", lambda _: pytest.fail("a container has no supervisor"))
    stopped.require_started("kafka")
