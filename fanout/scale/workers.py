"""Brings the number of a service's workers to what is wanted: the new ones are ready, the others have drained."""

from fanout.local import ports
from fanout.local.start import probe_of, reshape
from fanout.local.supervisor import Supervisor
from fanout.local.topology import StackSpec


def change(spec: StackSpec, service: str, count: int) -> StackSpec:
    """Also a worker of the service that was stopped runs afterwards. Other services are left alone."""
    ports.set_count(spec.directory, service, count)
    changed = StackSpec.build(spec.directory, spec.ports)
    supervisor = Supervisor(spec.directory)
    reshape(supervisor, changed)
    for name in changed.workers[service]:
        supervisor.start(name)
    for name in changed.workers[service]:
        supervisor.wait_ready(name, probe_of(changed, name))
    return changed
