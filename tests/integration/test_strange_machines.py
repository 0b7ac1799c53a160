"""Supervisor alone, in a folder and an environment that nobody would choose: one start for all of it, and no server.

What the servers themselves make of such a machine is in tests/system/test_strange_machine.py.
"""

import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import psutil
import pytest

from fanout.errors import FanoutError
from fanout.local import start, stop
from fanout.local.ports import Ports
from fanout.local.process import Process
from fanout.local.stack_directory import StackDirectory, write_private
from fanout.local.supervisor import SECRET, Supervisor, configuration, descriptions
from fanout.local.topology import StackSpec
from tests.support.stack import REPOSITORY
from tests.support.strange_machine import HOSTILE, ODD_NAME

TELL = """
import json, os, sys, time
with open(sys.argv[1] + ".new", "w") as file:
    json.dump({"argv": sys.argv[1:], "cwd": os.getcwd(), "environment": dict(os.environ), "umask": os.umask(0)}, file)
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(600)
"""
ARGUMENTS = ["a b", 'quo"te', "it's", "100%", "%(x)s", "# no comment", "; no comment", "ü", "$HOME"]
BY_HAND = """
import sys
from pathlib import Path
from fanout import environment
from fanout.local.stack_directory import StackDirectory
from fanout.local.supervisor import Supervisor
environment.drop_foreign()
directory = StackDirectory(Path(sys.argv[1]))
supervisor = Supervisor(directory)
supervisor.launch()
supervisor.start("thing")
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """Short enough for a socket in it when `odd` is not deep."""
    with tempfile.TemporaryDirectory(prefix="fm-", dir="/tmp") as folder:
        yield Path(folder)


def launched(path: Path, report: Path) -> StackDirectory:
    """Starts supervisor and one process, from a program that has the environment of a hostile machine."""
    directory = StackDirectory(path)
    folder = path / "its folder ü"
    folder.mkdir(parents=True)
    directory.logs.mkdir()
    directory.place_socket()
    command = [sys.executable, "-c", TELL, str(report), *ARGUMENTS]
    thing = Process("thing", command, {"OWN": 'a "b" %c #d ;e ü'}, folder=folder)
    write_private(directory.processes, json.dumps(descriptions([thing])))
    secret = directory.passwords([SECRET])[SECRET]
    write_private(directory.supervisor_config, configuration(directory, [thing], secret))
    done = subprocess.run(
        [sys.executable, "-c", BY_HAND, str(path)],
        cwd=REPOSITORY,
        env=os.environ | HOSTILE,
        capture_output=True,
        text=True,
        preexec_fn=lambda: os.umask(0o077),
    )
    assert done.returncode == 0, done.stderr
    return directory


def what_it_reported(report: Path) -> dict[str, Any]:
    deadline = monotonic() + 20
    while not report.exists():
        assert monotonic() < deadline
        sleep(0.05)
    return dict(json.loads(report.read_text()))


def alive(directory: StackDirectory) -> list[psutil.Process]:
    return stop._processes(directory)


@pytest.mark.parametrize("depth", ["near", "deep"])
def test_a_process_gets_its_arguments_folder_and_variables_whole_and_no_foreign_ones(
    home: Path, depth: str
) -> None:
    path = home / ODD_NAME / ("deep" * 30 if depth == "deep" else "h")
    directory = launched(path, home / "report")
    try:
        report = what_it_reported(home / "report")
        assert report["argv"] == [str(home / "report"), *ARGUMENTS]
        assert report["cwd"] == str(path / "its folder ü")
        assert report["environment"]["OWN"] == 'a "b" %c #d ;e ü'
        assert not {name for name in HOSTILE if name in report["environment"]} - {"LC_ALL", "TMPDIR"}
        assert report["environment"]["LC_ALL"] == "C.UTF-8"
        assert not {"FANOUT_PYTHON", "FANOUT_LAUNCH", "FANOUT_HOME"} & report["environment"].keys()
        assert report["umask"] == 0o077
        assert Supervisor(StackDirectory(path)).state("thing").is_alive
        assert not stat.S_IMODE((directory.logs / "thing.log").stat().st_mode) & 0o077
        assert (directory.socket.parent == path) == (depth == "near")
    finally:
        assert stop.take_down(directory)
    assert alive(directory) == []
    stop.wipe(directory)
    assert sorted(file.name for file in path.rglob("*")) == ["its folder ü"]


def test_processes_whose_data_is_deleted_get_no_time_and_are_not_started_again(home: Path) -> None:
    directory = launched(home, home / "report")
    what_it_reported(home / "report")
    [thing] = [each for each in alive(directory) if "report" in " ".join(each.cmdline())]
    thing.suspend()  # it would not hear a SIGTERM
    began = monotonic()
    assert stop.take_down(directory, at_once=True)
    assert monotonic() - began < 3
    assert alive(directory) == [] and not stop._is_running(thing)


def test_a_stack_whose_supervisor_does_not_answer_is_not_taken_down_by_up(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = launched(home / ODD_NAME, home / "report")
    try:
        what_it_reported(home / "report")
        before = {process.pid for process in alive(directory)}
        monkeypatch.setattr(stop, "SHUTDOWN_SECONDS", 0.2)
        directory.socket.unlink()
        with pytest.raises(FanoutError, match=r"runs already.*pid \d+.*fanout down"):
            start.bring_up(StackSpec.build(directory, Ports(9770)), None)
        assert {process.pid for process in alive(directory)} == before
    finally:
        assert stop.take_down(directory)
    assert alive(directory) == []


def test_a_stack_whose_folder_was_deleted_is_found_and_ended_by_down(home: Path) -> None:
    """Also by another name of the folder."""
    path = home / ODD_NAME
    launched(path, home / "report")
    what_it_reported(home / "report")
    (home / "alias").symlink_to(home)
    subprocess.run(["rm", "-rf", str(path)], check=True)
    down = [sys.executable, "-m", "fanout", "--home", str(home / "alias" / ODD_NAME), "down"]
    try:
        first = subprocess.run(down, cwd=REPOSITORY, capture_output=True, text=True)
        assert "everything is stopped" in first.stdout + first.stderr
        assert alive(StackDirectory(path)) == []
        again = subprocess.run(down, cwd=REPOSITORY, capture_output=True, text=True)
        assert "nothing was running" in again.stdout + again.stderr
        assert not path.exists()
    finally:
        stop.take_down(StackDirectory(path))


def test_a_process_that_cannot_be_ended_is_named_with_how_to_end_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = launched(home / ODD_NAME, home / "report")
    what_it_reported(home / "report")
    pids = [process.pid for process in alive(directory)]
    with monkeypatch.context() as of_another_user:

        def forbidden(_: psutil.Process) -> None:
            raise psutil.AccessDenied

        of_another_user.setattr(psutil.Process, "terminate", forbidden)
        of_another_user.setattr(psutil.Process, "kill", forbidden)
        of_another_user.setattr(stop, "DEADLINE_SECONDS", 0.1)
        directory.socket.unlink()
        with pytest.raises(FanoutError, match="still alive") as raised:
            stop.take_down(directory)
    assert all(str(pid) in str(raised.value) for pid in pids) and "kill -KILL" in str(raised.value)
    assert stop.take_down(directory)
