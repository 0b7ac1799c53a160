"""How the workers of one service are stopped and started, as processes or as containers."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from fanout.addresses import in_compose
from fanout.compose import docker
from fanout.compose.control import WAIT_SECONDS
from fanout.compose.processes import Process
from fanout.local import lock, probes, readiness
from fanout.local.supervisor import Supervisor
from fanout.local.topology import StackSpec


class Workers(Protocol):
    """All of them at once: `stop` returns when they have drained, `start` also starts one that was stopped before."""

    def stop(self, service: str) -> None: ...

    def start(self, service: str) -> None: ...

    def wait_ready(self, service: str) -> None: ...

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """No other command may start or stop any meanwhile."""
        yield


def of_stack() -> Workers:
    return Containers() if in_compose() else Processes(StackSpec.of_running())


@dataclass(frozen=True)
class Processes(Workers):
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
        with lock.held(self.spec.home):
            yield


class Containers(Workers):
    def stop(self, service: str) -> None:
        docker.compose("stop", Process(service, "worker").name)

    def start(self, service: str) -> None:
        docker.compose("start", Process(service, "worker").name)

    def wait_ready(self, service: str) -> None:
        name = Process(service, "worker").name
        docker.compose("up", "-d", "--no-deps", "--no-build", "--wait", "--wait-timeout", WAIT_SECONDS, name)
