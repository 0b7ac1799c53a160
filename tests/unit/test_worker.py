"""An background_task's bug is its own: it is begun again, and whoever told it to stop does not wait."""

import asyncio
from typing import Any

import pytest

from chassis import worker

NOTHING: Any = None


async def test_an_errand_that_breaks_is_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "BACKGROUND_RETRY_SECONDS", 0.01)
    begun = []

    async def background_task(*_: object) -> None:
        begun.append(1)
        if len(begun) < 3:
            raise LookupError("a bug")

    await asyncio.wait_for(worker.restart_on_failure(background_task, NOTHING, NOTHING, asyncio.Event()), 5)
    assert len(begun) == 3


async def test_an_errand_that_is_broken_keeps_nobody_from_leaving() -> None:
    stop, broken = asyncio.Event(), asyncio.Event()

    async def background_task(*_: object) -> None:
        broken.set()
        raise LookupError("a bug")

    running = asyncio.create_task(worker.restart_on_failure(background_task, NOTHING, NOTHING, stop))
    await broken.wait()
    stop.set()
    await asyncio.wait_for(running, 1)
