"""Carries out one fault: begins it, keeps it up, and undoes it, which may be repeated until it succeeds."""

import asyncio
from typing import Any, Protocol

from fanout.chaos.kinds import Fault
from fanout.errors import FanoutError

Met = dict[str, Any]
"""What a fault met, such as how many processes it killed."""


class CannotBegin(FanoutError):
    """The fault cannot be caused now, and nothing was changed."""

    exit_code = 2


class Injection(Protocol):
    met: Met

    async def begin(self) -> None:
        """Causes the fault. Raises CannotBegin if nothing was changed; after any other error `end` is called."""

    async def keep(self) -> None:
        """Goes on with it until it is cancelled."""

    async def end(self) -> None:
        """Undoes it, whoever began it; is repeated after an error, such as that of a database that is down."""


async def until_cancelled() -> None:
    await asyncio.Event().wait()


def injection_of(fault: Fault) -> Injection:
    """Imports what the fault needs; the tool itself never does."""
    from fanout.chaos import databases, messages, processes

    match fault.kind:
        case "kill":
            return processes.Kill(fault.target, fault.level, fault.seconds)
        case "pause":
            return processes.Pause([fault.target])
        case "freeze-all":
            return processes.Pause(processes.all_names())
        case "slow":
            return processes.Slow(fault.target, fault.level / 100)
        case "broker-down" | "database-down" | "registry-down":
            return processes.Down(processes.SERVERS[fault.kind])
        case "lock":
            return databases.Lock(fault.target, fault.seconds)
        case "read-only":
            return databases.ReadOnly(fault.target)
        case "poison":
            return messages.Poison()
        case "duplicate":
            return messages.Duplicate(fault.target, fault.level)
    raise AssertionError(fault.kind)
