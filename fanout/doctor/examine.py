"""Runs every check; one whose server does not answer says so, and the others go on."""

import inspect
from collections.abc import Awaitable, Callable, Iterable

from fanout import stopped
from fanout.console import Tell
from fanout.doctor import clocks, contracts, events, facts, machine, ports, processes, topics, versions
from fanout.doctor.findings import Finding
from fanout.doctor.surroundings import Surroundings
from fanout.errors import FanoutError, Unreachable
from fanout.local.stopped import KAFKA, require_started

Check = Callable[[Surroundings], Iterable[Finding] | Awaitable[Iterable[Finding]]]

CHECKS: dict[str, Check] = {
    "processes": processes.processes,
    "left behind": processes.left_behind,
    "ports": ports.ports,
    "disk": machine.disk,
    "memory": machine.memory,
    "environment": machine.foreign_settings,
    "versions": versions.packages,
    "versions of servers": versions.servers,
    "clocks": clocks.clocks,
    "registry": contracts.levels,
    "workers": contracts.workers,
    "topics": topics.settings,
    "outboxes": events.outboxes,
    "consumers": events.consumers,
    "dead letters": events.dead_letters,
    "losses": events.losses,
    "outboxes and Kafka": facts.unknown_to_outbox,
}
"""By the name under which a check says that it could not ask."""


NEED_KAFKA = {"clocks", "topics", "consumers", "outboxes and Kafka"}
"""Each of them would wait for Kafka by itself."""
SERVERS = ("postgres", "kafka", "registry")


async def examine(around: Surroundings, tell: Tell = lambda _: None) -> list[Finding]:
    """Returns what all checks found. Raises nothing for a server that is away."""
    findings: list[Finding] = []
    silent: dict[str, Unreachable] = {}
    for name, check in CHECKS.items():
        tell(f"asking about {name}")
        findings += await _outcome(name, check, around, silent)
    return findings


async def _outcome(
    name: str, check: Check, around: Surroundings, silent: dict[str, Unreachable]
) -> list[Finding]:
    """`silent` are the servers that did not answer so far, by address; it grows."""
    try:
        if name in NEED_KAFKA and around.addresses:
            require_started(KAFKA)
            if error := silent.get(around.addresses.kafka):
                raise error
        found = check(around)
        return list(await found if inspect.isawaitable(found) else found)
    except Unreachable as error:
        is_news = error.address not in silent and not _is_any_stopped(around)
        silent[error.address] = error
        sentence, _, remedy = str(stopped.explained(error)).partition(": ")
        return [Finding("wrong" if is_news else "unasked", name, f"not asked: {sentence}", "", remedy)]
    except FanoutError as error:
        return [Finding("unasked", name, f"not asked: {error}")]


def _is_any_stopped(around: Surroundings) -> bool:
    """Returns True if somebody has stopped a server, which is said already, and may be why another is silent."""
    return any(around.processes.get(server) == "STOPPED" for server in SERVERS)
