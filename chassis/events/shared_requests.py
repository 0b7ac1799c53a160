"""Lets tasks that ask the same question at the same time share one request that is new to each of them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


class SharedRequests(Generic[Q, A]):
    """Asks `ask` one request at a time for each question. Every caller gets the answer of a request that began after it
    called, so what was registered before the call is in the answer."""

    def __init__(self, ask: Callable[[Q], Awaitable[A]]) -> None:
        self._ask = ask
        self._running: dict[Q, asyncio.Task[A]] = {}

    async def answer(self, question: Q) -> A:
        """Returns the answer, or raises what `ask` raises."""
        if began_before := self._running.get(question):
            await asyncio.wait({began_before})
        if question not in self._running:
            self._running[question] = asyncio.create_task(self._run(question))
        return await asyncio.shield(self._running[question])

    async def _run(self, question: Q) -> A:
        try:
            return await self._ask(question)
        finally:
            del self._running[question]
