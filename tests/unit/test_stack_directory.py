"""A directory keeps its secrets to itself, and its ports are checked before anything starts."""

import socket
import stat
from pathlib import Path

import pytest

from fanout.errors import BadUsage, BusyPort
from fanout.local import ports
from fanout.local.stack_directory import LONGEST_SOCKET_PATH, StackDirectory


def test_passwords_are_made_once_and_only_their_owner_can_read_them(tmp_path: Path) -> None:
    directory = StackDirectory(tmp_path)

    first = directory.passwords(["orders"])
    second = directory.passwords(["orders", "fraud"])

    assert second["orders"] == first["orders"] != second["fraud"]
    assert stat.S_IMODE(directory.secrets.stat().st_mode) == 0o600


def test_a_deep_home_gets_a_socket_that_the_kernel_accepts(tmp_path: Path) -> None:
    deep = StackDirectory(tmp_path / ("deep" * 30))

    assert len(str(deep.socket)) <= LONGEST_SOCKET_PATH
    assert deep.socket != StackDirectory(tmp_path / ("Deep" * 30)).socket


def test_a_busy_port_is_named_with_who_wants_it_and_the_setting() -> None:
    with socket.create_server((ports.HOST, 0)) as busy:
        number = busy.getsockname()[1]

        with pytest.raises(BusyPort) as raised:
            ports.require_free({number: "kafka"})

    for part in (str(number), "kafka", "FANOUT_PORT_BASE"):
        assert part in str(raised.value)


@pytest.mark.parametrize("text", ["abc", "-1", "80", "70000"])
def test_an_impossible_port_base_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANOUT_PORT_BASE", text)

    with pytest.raises(BadUsage, match="FANOUT_PORT_BASE"):
        ports.from_environment()
