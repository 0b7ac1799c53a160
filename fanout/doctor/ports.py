"""The ports of the local stack: who listens on them when it does not run."""

from collections.abc import Iterator, Mapping

import psutil

from fanout.doctor.findings import Finding
from fanout.doctor.surroundings import Surroundings
from fanout.local.ports import API_OFFSETS, HOST, WORKER_OFFSETS, is_free, offsets
from fanout.repository import services, services_with_api


def ports(around: Surroundings) -> Iterator[Finding]:
    if around.in_container:
        yield Finding("unasked", "ports", "the ports that containers publish: docker compose ps")
        return
    if around.runs:
        yield Finding("ok", "ports", f"the stack has its ports, from {around.ports.base} on")
        return
    taken = {port: process for port, process in wanted(around).items() if not is_free(port)}
    yield from (busy(port, process, listener(port)) for port, process in taken.items())
    if not taken:
        yield Finding("ok", "ports", f"the ports from {around.ports.base} on are free")


def busy(port: int, process: str, owner: str) -> Finding:
    return Finding(
        "wrong",
        "ports",
        f"{owner} listens on port {port}, which {process} needs",
        "fanout up would refuse to start",
        f"stop {owner}, or choose other ports: FANOUT_PORT_BASE=9000 fanout up",
    )


def wanted(around: Surroundings) -> Mapping[int, str]:
    """Returns what each port would be for; a service that never had one would get the next free."""
    ours = around.ports
    assigned = offsets(around.directory) or {
        **dict(zip((f"{name}-api" for name in services_with_api()), API_OFFSETS, strict=False)),
        **dict(zip((f"{name}-worker" for name in services()), WORKER_OFFSETS, strict=False)),
    }
    return {
        ours.postgres: "postgres",
        ours.kafka: "kafka",
        ours.controller: "kafka's controller",
        ours.registry: "registry",
        ours.registry_management: "registry's management",
        ours.smtp: "mailbox",
        **{ours.base + offset: name for name, offset in assigned.items()},
    }


def listener(port: int) -> str:
    """Returns the name and pid of the process that listens there, as far as this user may know."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        pass
    return f"another program at {HOST}:{port}"
