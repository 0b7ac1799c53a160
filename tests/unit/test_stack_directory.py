"""A directory keeps its secrets to itself, and its ports are checked before anything starts."""

import os
import socket
import stat
import tempfile
from pathlib import Path

import pytest

from fanout.errors import BadUsage, BusyPort
from fanout.local import ports
from fanout.local.stack_directory import LONGEST_SOCKET_PATH, StackDirectory, current, write_private
from fanout.local.stop import wipe


def test_passwords_are_made_once_and_only_their_owner_can_read_them(tmp_path: Path) -> None:
    directory = StackDirectory(tmp_path)

    first = directory.passwords(["orders"])
    second = directory.passwords(["orders", "fraud"])

    assert second["orders"] == first["orders"] != second["fraud"]
    assert stat.S_IMODE(directory.secrets.stat().st_mode) == 0o600


def test_wiping_deletes_what_was_kept_as_a_correction_and_nothing_of_others(tmp_path: Path) -> None:
    directory = StackDirectory(tmp_path)
    for folder in (directory.edits / "7", tmp_path / "mine"):
        folder.mkdir(parents=True)

    wipe(directory)

    assert [each.name for each in tmp_path.iterdir()] == ["mine"]


def test_a_deep_home_gets_a_socket_that_the_kernel_accepts(tmp_path: Path) -> None:
    for name in ("deep" * 30, "ü" * 40):
        deep, other = StackDirectory(tmp_path / name), StackDirectory(tmp_path / f"{name}2")
        for directory in (deep, other):
            directory.place_socket()

        assert len(str(deep.socket).encode()) <= LONGEST_SOCKET_PATH
        assert deep.socket != other.socket
        assert stat.S_IMODE(deep.socket.parent.stat().st_mode) == 0o700
        for directory in (deep, other):
            directory.remove_socket()
            assert not directory.socket.parent.exists() or directory.socket.parent == directory.path


def test_the_length_of_a_socket_is_counted_in_bytes() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        directory = StackDirectory(Path(folder) / ("ü" * 30))
        directory.place_socket()

        assert directory.socket.parent != directory.path
        directory.remove_socket()


def test_the_socket_is_found_by_a_command_with_another_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, long = tmp_path / ("deep" * 30), tmp_path / ("long" * 30)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    StackDirectory(path).place_socket()
    placed = StackDirectory(path).socket
    assert len(str(placed)) <= LONGEST_SOCKET_PATH
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    assert StackDirectory(path).socket == placed
    StackDirectory(path).remove_socket()


def test_a_home_with_a_line_break_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANOUT_HOME", "/tmp/a\nb")

    with pytest.raises(BadUsage, match="FANOUT_HOME"):
        current()


def test_a_relative_home_is_where_the_command_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FANOUT_HOME", "here/ü")

    assert current().path == tmp_path / "here" / "ü"


def test_a_home_that_cannot_be_made_is_named_with_its_variable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with (
        pytest.raises(BadUsage, match=r"Not a directory.*FANOUT_HOME"),
        StackDirectory(tmp_path / "file" / "x").locked(),
    ):
        pass


def test_secrets_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        directory = StackDirectory(tmp_path)
        directory.passwords(["orders"])
        write_private(directory.processes, "{}")
        write_private(directory.supervisor_config, "")
    finally:
        os.umask(before)

    modes = {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert modes == {0o600}


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
