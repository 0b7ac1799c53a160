"""Understands the names that people type, the same in every command.

A process may be called by its service if that has no other process, a service by one of its processes, and `-` and `_`
are the same: `fraud` is `fraud-worker`, and `orders-api` belongs to `orders`.
"""

import re
from collections.abc import Iterable, Sequence

from fanout.errors import BadUsage, UnknownProcess, UnknownService

OF_SERVICE = re.compile(r"(.+)-(?:api|worker(?:-\d+)?)")


def process_of(name: str, known: Sequence[str]) -> str:
    """Returns the process that is meant. Raises UnknownProcess, or BadUsage if it may be several."""
    found = matching(name, known)
    if len(found) > 1:
        raise BadUsage(f"{name} has several processes, {', '.join(found)}: say which")
    return found[0]


def matching(name: str, known: Sequence[str]) -> list[str]:
    """Returns the process of that name, or else all processes of the service of that name; raises UnknownProcess."""
    wanted = _spelled(name)
    exact = [each for each in known if _spelled(each) == wanted]
    found = exact or [each for each in known if _spelled(_service_of_process(each)) == wanted]
    if not found:
        raise UnknownProcess(name, list(known))
    return found


def service_of(name: str, known: Iterable[str]) -> str:
    """Returns the service that is meant. Raises UnknownService."""
    services = {_spelled(each): each for each in known}
    for wanted in (_spelled(name), _spelled(_service_of_process(name))):
        if wanted in services:
            return services[wanted]
    raise UnknownService(name, list(services.values()))


def _service_of_process(name: str) -> str:
    found = OF_SERVICE.fullmatch(name)
    return found[1] if found else name


def _spelled(name: str) -> str:
    return name.lower().replace("_", "-")
