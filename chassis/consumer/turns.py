"""Who may process something at the moment: any number of partitions side by side, or one record alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """A first-come, first-served lock, either shared or exclusive, over everything that one process processes."""

    def __init__(self) -> None:
        self._gate = asyncio.Lock()
        self._sharing = 0
        self._nobody_shares = asyncio.Event()
        self._nobody_shares.set()

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        async with self._gate:
            self._sharing += 1
            self._nobody_shares.clear()
        try:
            yield
        finally:
            self._sharing -= 1
            if not self._sharing:
                self._nobody_shares.set()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        async with self._gate:
            await self._nobody_shares.wait()
            yield
