"""A failed background task is restarted, and does not delay the drain."""

import asyncio
from typing import Any

import pytest

from chassis import worker

NOTHING: Any = None


async def test_a_background_task_that_fails_is_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "BACKGROUND_RETRY_SECONDS", 0.01)
    begun = []

    async def background_task(*_: object) -> None:
        begun.append(1)
        if len(begun) < 3:
            raise LookupError("a bug")

    await asyncio.wait_for(worker.restart_on_failure(background_task, NOTHING, NOTHING, asyncio.Event()), 5)
    assert len(begun) == 3


async def test_a_failed_background_task_does_not_delay_the_drain() -> None:
    stop, broken = asyncio.Event(), asyncio.Event()

    async def background_task(*_: object) -> None:
        broken.set()
        raise LookupError("a bug")

    running = asyncio.create_task(worker.restart_on_failure(background_task, NOTHING, NOTHING, stop))
    await broken.wait()
    stop.set()
    await asyncio.wait_for(running, 1)
