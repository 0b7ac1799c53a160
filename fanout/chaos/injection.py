"""What carries out one fault: begins it, keeps it up, and undoes it, which may be repeated until it succeeds."""

import asyncio
from typing import Any, Protocol

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
