"""Watches a group until it has read what there was, and tells how fast and how long still."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from confluent_kafka.admin import AdminClient
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fanout.console import console, say
from fanout.errors import FanoutError
from fanout.replay.history import committed
from fanout.replay.plan import Plan

INTERVAL_SECONDS = 0.2
LINE_SECONDS = 2.0
STILL_SECONDS = 120.0


@dataclass
class Pace:
    """From the last moment at which nothing was read, so that the start of a process does not count."""

    total: int
    done: int = 0
    began: float = field(default_factory=time.monotonic)
    moved: float = field(default_factory=time.monotonic)

    def reached(self, done: int) -> None:
        now = time.monotonic()
        if done == 0:
            self.began = now
        if done != self.done:
            self.done, self.moved = done, now

    @property
    def per_second(self) -> float:
        seconds = self.moved - self.began
        return self.done / seconds if seconds > 0 else 0.0

    @property
    def line(self) -> str:
        rest = (self.total - self.done) / self.per_second if self.done else None
        to_go = "" if rest is None else f", {self.per_second:,.0f} a second, {rest:.0f} s to go"
        return f"{self.done:,} of {self.total:,} events{to_go}"


async def follow(admin: AdminClient, group: str, plan: Plan) -> Pace:
    pace = Pace(plan.total)
    with _shown(pace) as show:
        while pace.done < pace.total:
            pace.reached(plan.done(committed(admin, group)))
            show(pace)
            if time.monotonic() - pace.moved > STILL_SECONDS:
                raise FanoutError(
                    f"{group} has stood still for {STILL_SECONDS:.0f} s at {pace.done} of {pace.total} events: "
                    f"fanout logs {group}-worker"
                )
            await asyncio.sleep(INTERVAL_SECONDS if pace.done < pace.total else 0)
    return pace


@contextmanager
def _shown(pace: Pace) -> Iterator[Callable[[Pace], None]]:
    """A bar on a terminal, else a line now and then."""
    if not console.is_terminal:
        yield _Lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(pace.line, total=pace.total or 1)
        yield lambda now: bar.update(task, completed=now.done, description=now.line)


class _Lines:
    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, pace: Pace) -> None:
        if pace.done == pace.total or time.monotonic() >= self._next:
            self._next = time.monotonic() + LINE_SECONDS
            say(pace.line)
