"""How a replay stops and starts the workers of one service in the local stack."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fanout.local import lock, probes, readiness
from fanout.local.supervisor import Supervisor
from fanout.local.topology import StackSpec


@dataclass(frozen=True)
class Workers:
    """All workers of a service at once: `stop` returns when they have drained, `start` starts stopped ones too."""

    spec: StackSpec

    def stop(self, service: str) -> None:
        readiness.stop(Supervisor(self.spec.home), set(self.spec.workers[service]))

    def start(self, service: str) -> None:
        for name in self.spec.workers[service]:
            Supervisor(self.spec.home).start(name)

    def wait_ready(self, service: str) -> None:
        for name in self.spec.workers[service]:
            probe = probes.probe_of(self.spec, name)
            readiness.wait_ready(Supervisor(self.spec.home), name, probe)

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Keeps other commands from starting or stopping workers meanwhile."""
        with lock.held(self.spec.home):
            yield
