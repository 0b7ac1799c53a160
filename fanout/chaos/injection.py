"""What carries out one fault: begins it, keeps it up, and undoes it."""

import asyncio
from typing import Any

from fanout.errors import FanoutError


class CannotBegin(FanoutError):
    """The fault cannot be caused now, and nothing was changed."""

    exit_code = 2


class Injection:
    """A fault that nothing has to be done for while it lasts, and nothing after it, unless a kind says so."""

    def __init__(self) -> None:
        self.met: dict[str, Any] = {}
        """What the fault met, such as how many processes it killed."""

    async def begin(self) -> None:
        """Causes the fault. Raises CannotBegin if nothing was changed; after any other error `end` is called."""

    async def keep(self) -> None:
        """Goes on with it until it is cancelled."""
        await asyncio.Event().wait()

    async def end(self) -> None:
        """Undoes it, whoever began it; is repeated after an error, such as that of a database that is down."""
