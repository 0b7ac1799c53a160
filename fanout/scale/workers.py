"""Brings the number of a service's workers to what is wanted: the new ones are ready, the others have drained."""

from fanout.stack import allotment, probes
from fanout.stack.blueprint import Blueprint
from fanout.stack.readiness import wait_ready
from fanout.stack.start import reshape
from fanout.stack.supervisor import Supervisor


def change(blueprint: Blueprint, service: str, count: int) -> Blueprint:
    """Also a worker of the service that was stopped runs afterwards. Other services are left alone."""
    allotment.set_count(blueprint.home, service, count)
    changed = Blueprint.draw(blueprint.home, blueprint.ports)
    supervisor = Supervisor(blueprint.home)
    reshape(supervisor, changed)
    for name in changed.workers[service]:
        supervisor.start(name)
    for name in changed.workers[service]:
        wait_ready(supervisor, name, probes.probe_of(changed, name))
    return changed
