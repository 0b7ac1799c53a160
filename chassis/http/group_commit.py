"""Group commit: requests that arrive while a transaction is running share the next one.

A transaction costs Postgres and this process nearly the same for one request as for fifty, so the cost per request
falls as more arrive. Up to two groups are in transactions at a time; requests that arrive meanwhile form the next one.
If the transaction of a group fails, each member is retried in a transaction of its own, and fails alone.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Generic, TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import Database
from chassis.errors import FailureClass, classify, concerns_everyone
from chassis.telemetry import metrics

LARGEST_GROUP = 100
GROUPS_AT_ONCE = 2
"""While one waits for its commit, the next one is written."""
GIVE_UP_SECONDS = 0.6
"""A request that waited longer is refused: its answer would come too late, and delay others."""

T = TypeVar("T")
R = TypeVar("R")
Write = Callable[[AsyncConnection, Sequence[T]], Awaitable[Sequence[R]]]

log = structlog.get_logger()


class Overloaded(Exception):
    """A request waited too long for a transaction; none of its effects happened."""


@dataclass(eq=False, slots=True)
class _Member(Generic[T, R]):
    item: T
    conflict_key: Hashable
    answer: asyncio.Future[R] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    arrived: float = field(default_factory=monotonic)

    @property
    def is_late(self) -> bool:
        return monotonic() - self.arrived > GIVE_UP_SECONDS

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class GroupCommit(Generic[T, R]):
    """Groups items into transactions. `write(db, items)` makes their effects and returns an answer for each."""

    def __init__(self, write: Write[T, R]) -> None:
        self._write = write
        self._waiting: deque[_Member[T, R]] = deque()
        self._running = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, database: Database, item: T, conflict_key: Hashable = None) -> R:
        """Returns the item's answer after its commit. Raises Overloaded, or what `write` raises for this item.

        Groups are formed in the order of arrival. Items with the same `conflict_key` (not None) never share a group.
        """
        member: _Member[T, R] = _Member(item, conflict_key)
        self._waiting.append(member)
        if self._running < GROUPS_AT_ONCE:
            self._running += 1
            task = asyncio.create_task(self._run(database))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await member.answer

    async def _run(self, database: Database) -> None:
        """Commits group after group until no member is waiting."""
        structlog.contextvars.unbind_contextvars("trace_id", "span_id")
        try:
            while group := self._next_group():
                if error := await self._failure(database, group):
                    await self._retry_each(database, group, error)
        finally:
            # No await since the queue was found empty: a member that arrives later starts another task.
            self._running -= 1

    async def _commit(self, database: Database, group: Sequence[_Member[T, R]]) -> None:
        async with database.transaction() as db:
            answers = await self._write(db, [member.item for member in group])
        metrics.GROUP_SIZE.observe(len(group))
        for member, answer in zip(group, answers, strict=True):
            if not member.answer.done():  # cancelled: the client has disconnected
                member.answer.set_result(answer)

    async def _failure(self, database: Database, group: Sequence[_Member[T, R]]) -> Exception | None:
        """Commits the group, or returns the error, which then is the `__context__` of no other member's error."""
        try:
            await self._commit(database, group)
        except Exception as error:
            return error
        return None

    def _next_group(self) -> list[_Member[T, R]]:
        """Takes the members that waited longest. A member in conflict with one of them keeps its place in the queue."""
        group: list[_Member[T, R]] = []
        taken: set[Hashable] = set()
        postponed: deque[_Member[T, R]] = deque()
        while self._waiting and len(group) < LARGEST_GROUP:
            member = self._waiting.popleft()
            if member.is_late:
                member.fail(Overloaded())
            elif member.conflict_key is not None and member.conflict_key in taken:
                postponed.append(member)
            else:
                taken.add(member.conflict_key)
                group.append(member)
        self._waiting.extendleft(reversed(postponed))
        return group

    @property
    def longest_wait(self) -> float:
        """The seconds for which the oldest member has waited for a transaction."""
        return monotonic() - self._waiting[0].arrived if self._waiting else 0.0

    async def _retry_each(self, database: Database, group: Sequence[_Member[T, R]], error: Exception) -> None:
        """Retries each member alone after `error`, unless the database is unavailable: then all of them fail."""
        if len(group) == 1 and classify(error) is FailureClass.PERMANENT:
            group[0].fail(error)
            return
        log.info("group_failed", members=len(group), error=error)
        for member in group:
            if concerns_everyone(error):
                member.fail(error)
            elif member.is_late:
                member.fail(Overloaded())
            elif failure := await self._failure(database, [member]):
                member.fail(failure)
                error = failure  # an outage that one member meets fails the rest
