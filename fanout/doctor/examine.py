"""Runs every check; one whose server does not answer says so, and the others go on."""

import inspect
from collections.abc import Awaitable, Callable, Iterable

from fanout import stopped
from fanout.console import Tell
from fanout.doctor import clocks, contracts, events, facts, machine, ports, processes, topics, versions
from fanout.doctor.findings import Finding
from fanout.doctor.surroundings import Surroundings
from fanout.errors import FanoutError, Unreachable

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


async def examine(around: Surroundings, tell: Tell = lambda _: None) -> list[Finding]:
    findings: list[Finding] = []
    unreachable: set[str] = set()
    for name, check in CHECKS.items():
        tell(f"asking about {name}")
        findings += await _outcome(name, check, around, unreachable)
    return findings


async def _outcome(name: str, check: Check, around: Surroundings, unreachable: set[str]) -> list[Finding]:
    """Returns what the check found. That a server does not answer is a fault once, and then only said."""
    try:
        found = check(around)
        return list(await found if inspect.isawaitable(found) else found)
    except Unreachable as error:
        first = error.address not in unreachable
        unreachable.add(error.address)
        sentence, _, mend = str(stopped.explained(error)).partition(": ")
        return [Finding("wrong" if first else "unasked", name, f"not asked: {sentence}", "", mend)]
    except FanoutError as error:
        return [Finding("unasked", name, f"not asked: {error}")]
