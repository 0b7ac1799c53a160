"""How a replay stops and starts the workers of one service in the local stack."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fanout.local.start import probe_of
from fanout.local.supervisor import Supervisor
from fanout.local.topology import StackSpec


@dataclass(frozen=True)
class Workers:
    """All workers of a service at once: `stop` returns when they have drained, `start` starts stopped ones too."""

    spec: StackSpec

    def stop(self, service: str) -> None:
        Supervisor(self.spec.directory).stop(self.spec.workers[service])

    def start(self, service: str) -> None:
        for name in self.spec.workers[service]:
            Supervisor(self.spec.directory).start(name)

    def wait_ready(self, service: str) -> None:
        for name in self.spec.workers[service]:
            Supervisor(self.spec.directory).wait_ready(name, probe_of(self.spec, name))

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Keeps other commands from starting or stopping workers meanwhile."""
        with self.spec.directory.locked():
            yield
