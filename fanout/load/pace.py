"""Open-loop pacing: the next customer comes when it is time, not when the last one was served."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from time import perf_counter
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def at_rate(
    rate: float, items: Sequence[T], serve: Callable[[T, float], Coroutine[Any, Any, R]]
) -> list[R]:
    """Calls `serve(item, due)` for one item every 1/rate seconds; results in the order of the items.

    `due` is the moment (of `perf_counter`) at which the item's turn came. A latency measured from there
    includes the time by which this process itself was late.
    """
    start = perf_counter()
    async with asyncio.TaskGroup() as group:
        tasks = []
        for number, item in enumerate(items):
            due = start + number / rate
            await asyncio.sleep(max(due - perf_counter(), 0))
            tasks.append(group.create_task(serve(item, due)))
    return [task.result() for task in tasks]
