"""Takes over changed code while somebody works on it: tried first, then only the processes that load it are restarted.

What cannot be taken back is left to `fanout up`: a half-written migration must not run because it was saved, and a
half-written contract must not be registered.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from fanout.console import say
from fanout.errors import ProcessFailed
from fanout.local.start import bring_up, changed_code, start_services
from fanout.local.stop import PARENT_WATCH
from fanout.local.supervisor import Supervisor
from fanout.local.topology import StackSpec
from fanout.provision import steps

FOLDERS = ("services", "chassis", "schemas")


@dataclass
class Reloader:
    """Remembers what waits for `fanout up`, and which processes did not start with their new code."""

    waiting: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)

    def take_over(self, saved: Iterable[str]) -> None:
        """Restarts what loads changed code. `saved` are paths below the repository.

        Raises BrokenCode before anything is stopped, ProcessFailed if a process does not start with its new code, and
        NotRunning.
        """
        spec = StackSpec.of_running()
        supervisor = Supervisor(spec.directory)
        self._say_what_waits(saved)
        if _other_processes(supervisor, spec):
            bring_up(spec, None)
            return
        changed = changed_code(supervisor, spec)
        self._listen(spec, changed)
        names = changed.keys() | self.failed
        try:
            start_services(supervisor, spec, changed, only=names)
            self.failed.clear()
        except ProcessFailed:
            self.failed |= names
            raise

    def _say_what_waits(self, saved: Iterable[str]) -> None:
        for path in sorted(saved):
            if what := irrevocable(path):
                self.waiting.add(path)
                say(f"{path} changed: fanout up {what} when it is finished")

    def _listen(self, spec: StackSpec, changed: dict[str, list[str]]) -> None:
        """Records what the services listen to now, and makes the topics for it; but not if that ran a migration."""
        edited = {f"services/{name}/service.py": name for name in spec.services}
        services = {edited[file] for files in changed.values() for file in files if file in edited}
        services -= {PurePosixPath(path).parts[1] for path in self.waiting}
        if services:
            servers = replace(spec.servers(), services=sorted(services))
            if steps.migrate(servers):
                steps.make_topics(servers)


def irrevocable(path: str) -> str:
    """Returns what `fanout up` does with a file that has to be finished first; empty for any other file."""
    file = PurePosixPath(path)
    if file.suffix == ".avsc":
        return "registers it"
    return "runs it" if file.suffix == ".py" and file.parent.name in ("migrations", "revisions") else ""


def _other_processes(supervisor: Supervisor, spec: StackSpec) -> bool:
    """Returns True if a service or an API came or went."""
    known = {state.name for state in supervisor.states()} - {PARENT_WATCH}
    return known != {process.name for process in spec.processes()}
