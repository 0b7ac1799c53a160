"""Brings the number of a service's workers to what is wanted: the new ones are ready, the others have drained."""

from fanout.local import port_assignment, probes
from fanout.local.readiness import wait_ready
from fanout.local.start import reshape
from fanout.local.supervisor import Supervisor
from fanout.local.topology import StackSpec


def change(spec: StackSpec, service: str, count: int) -> StackSpec:
    """Also a worker of the service that was stopped runs afterwards. Other services are left alone."""
    port_assignment.set_count(spec.home, service, count)
    changed = StackSpec.build(spec.home, spec.ports)
    supervisor = Supervisor(spec.home)
    reshape(supervisor, changed)
    for name in changed.workers[service]:
        supervisor.start(name)
    for name in changed.workers[service]:
        wait_ready(supervisor, name, probes.probe_of(changed, name))
    return changed
