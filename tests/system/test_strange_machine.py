"""The whole stack on a machine that nobody would choose: one start, with everything that has stopped a start before.

Code, Python and data lie in folders with blanks, quotes, `#`, `;`, `%` and letters beyond ASCII; proxies, certificates,
variables of libpq, of Java and of Python are set to what does not work; the locale is C and the umask 077.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fanout.local import downloads
from fanout.local.stack_directory import StackDirectory
from fanout.local.stop import _processes
from tests.support.stack import free_base
from tests.support.strange_machine import HOSTILE, ODD_NAME
from tests.support.tree import copy_of_the_tree

pytestmark = pytest.mark.timeout(420)


class StrangeMachine:
    """`fanout` as it is run there; with another $TMPDIR each time, as a second shell may have it."""

    def __init__(self, folder: Path) -> None:
        self.place = folder / ODD_NAME
        self.place.mkdir()
        self.tree = self.place / "tree"
        copy_of_the_tree(self.tree)
        (self.place / "environment").symlink_to(sys.prefix)
        downloads.fetch(downloads.of_servers())
        (self.place / "Vorrat ü #1, %").mkdir()
        (self.place / "Vorrat ü #1, %" / "fanout").symlink_to(downloads.cache())
        self.home = self.place / "Daten für #1" / ("lang" * 20)
        self._base = str(free_base())
        self._shells = 0

    def fanout(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        self._shells += 1
        temporary = self.place / f"tmp {self._shells}"
        temporary.mkdir()
        relative = os.path.relpath(self.home, self.tree)
        own = {"FANOUT_HOME": relative, "FANOUT_PORT_BASE": self._base, "TMPDIR": str(temporary)}
        own["XDG_CACHE_HOME"] = str(self.place / "Vorrat ü #1, %")
        locale = "POSIX" if self._shells % 2 else "C"
        return subprocess.run(
            [self.place / "environment" / "bin" / "python", "-m", "fanout", *arguments],
            cwd=self.tree,
            env=os.environ | HOSTILE | own | {"LC_ALL": locale},
            capture_output=True,
            text=True,
            timeout=240,
            preexec_fn=lambda: os.umask(0o077),
        )

    def must(self, *arguments: str) -> str:
        done = self.fanout(*arguments)
        assert done.returncode == 0, f"fanout {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr


def test_the_stack_runs_loses_nothing_and_is_wiped_completely_on_a_strange_machine(tmp_path: Path) -> None:
    machine = StrangeMachine(tmp_path)
    before = {file.name for file in machine.place.iterdir()}
    try:
        machine.must("up")
        assert "already running" in machine.must("up")
        machine.must("load", "--orders", "30", "--patient")
        assert "lost 0, applied twice 0" in machine.must("verify", "--wait", "60s")
        status = json.loads(machine.must("status", "--json"))
        assert status["not_registered"] == [] and status["lowered_compatibility"] == {}
        assert {each["restarts"] for each in status["processes"]} == {0}
        machine.must("dlq", "ls")
        machine.must("lag")
        private = [
            machine.home / name
            for name in ("secrets.json", "processes.json", "stack.json", "supervisord.conf")
        ]
        assert {file.stat().st_mode & 0o077 for file in private} == {0}
    finally:
        stopped = machine.must("down", "--wipe")
    assert "everything is stopped" in stopped
    assert _processes(StackDirectory(machine.home)) == []
    assert not machine.home.exists()
    left = {file.name for file in machine.place.iterdir() if not file.name.startswith("tmp ")}
    assert left == before | {machine.home.parent.name}
    assert [file for tmp in machine.place.glob("tmp *") for file in tmp.rglob("*") if file.is_file()] == []
