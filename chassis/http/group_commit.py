"""Group commit: requests that arrive while a transaction is under way share the next one.

A transaction costs Postgres and this process nearly the same for one request as for fifty, so the more arrive, the
less each of them costs, and nobody waits for more than two transactions. A member that fails does not fail the
others: when the transaction of a group fails, each member is tried again in one of its own.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Generic, TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import telemetry
from chassis.database import Database
from chassis.errors import FailureClass, classify, concerns_everyone

LARGEST_GROUP = 100
GROUPS_AT_ONCE = 2
"""While one waits for its commit, the next one is written."""
GIVE_UP_SECONDS = 0.6
"""Who has waited longer is refused instead of written: an answer would come too late, and cost somebody else's."""

T = TypeVar("T")
R = TypeVar("R")
Write = Callable[[AsyncConnection, Sequence[T]], Awaitable[Sequence[R]]]

log = structlog.get_logger()


class Overloaded(Exception):
    """A request waited too long for a transaction; nothing of it was done."""


@dataclass(eq=False, slots=True)
class _Member(Generic[T, R]):
    item: T
    apart: Hashable
    answer: asyncio.Future[R] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    arrived: float = field(default_factory=monotonic)

    @property
    def is_late(self) -> bool:
        return monotonic() - self.arrived > GIVE_UP_SECONDS

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class GroupCommit(Generic[T, R]):
    """`write(db, items)` makes the effects of all items in one transaction and returns an answer for each."""

    def __init__(self, write: Write[T, R]) -> None:
        self._write = write
        self._waiting: deque[_Member[T, R]] = deque()
        self._running = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def longest_wait(self) -> float:
        """Seconds for which the oldest member has waited for a transaction."""
        return monotonic() - self._waiting[0].arrived if self._waiting else 0.0

    async def submit(self, database: Database, item: T, apart: Hashable = None) -> R:
        """Returns the item's answer once it is committed; raises Overloaded, or what its own write raises.

        Groups are formed in the order of arrival. Two items with the same `apart` (not None) are never in one group.
        """
        member: _Member[T, R] = _Member(item, apart)
        self._waiting.append(member)
        if self._running < GROUPS_AT_ONCE:
            self._running += 1
            task = asyncio.create_task(self._run(database))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await member.answer

    async def _run(self, database: Database) -> None:
        structlog.contextvars.unbind_contextvars("trace_id")
        try:
            while group := self._next_group():
                try:
                    await self._commit(database, group)
                except Exception as error:
                    await self._recover(database, group, error)
        finally:
            self._running -= (
                1  # in the step that found nobody waiting, so that whoever comes next starts another
            )

    def _next_group(self) -> list[_Member[T, R]]:
        """Takes who waited longest; who must stay apart from a member waits for the next group, in its place."""
        group: list[_Member[T, R]] = []
        taken: set[Hashable] = set()
        left: deque[_Member[T, R]] = deque()
        while self._waiting and len(group) < LARGEST_GROUP:
            member = self._waiting.popleft()
            if member.is_late:
                member.fail(Overloaded())
                continue
            if member.apart is not None and member.apart in taken:
                left.append(member)
                continue
            taken.add(member.apart)
            group.append(member)
        self._waiting.extendleft(reversed(left))
        return group

    async def _commit(self, database: Database, group: Sequence[_Member[T, R]]) -> None:
        async with database.transaction() as db:
            answers = await self._write(db, [member.item for member in group])
        telemetry.GROUP_SIZE.observe(len(group))
        for member, answer in zip(group, answers, strict=True):
            if not member.answer.done():  # as it is when its client has hung up
                member.answer.set_result(answer)

    async def _recover(self, database: Database, group: Sequence[_Member[T, R]], error: Exception) -> None:
        """Tries each member alone, unless the database is away, which concerns all of them."""
        if len(group) == 1 and classify(error) is FailureClass.PERMANENT:
            group[0].fail(error)
            return
        log.info("group_failed", members=len(group), error=f"{type(error).__name__}: {error}"[:300])
        for member in group:
            try:
                if concerns_everyone(error):
                    raise error
                if member.is_late:
                    raise Overloaded
                await self._commit(database, [member])
            except Exception as own:
                member.fail(own)
                error = own
