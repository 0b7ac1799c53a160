"""The tool's own connections: whoever interrupts a command is not told of what that broke."""

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL

from fanout.databases import session
from fanout.errors import FanoutError


async def refused(postgres_url: URL, interrupted: asyncio.Event | None = None) -> None:
    async with session("orders", postgres_url.render_as_string(hide_password=False)) as db:
        try:
            if interrupted:
                interrupted.set()
                await asyncio.Event().wait()
        finally:
            await db.execute(text("SELECT 1 / 0"))


async def test_a_question_that_is_refused_is_one_sentence(postgres_url: URL) -> None:
    with pytest.raises(FanoutError, match="the database of orders refuses a question: division by zero"):
        await refused(postgres_url)


async def test_what_fails_because_of_an_interrupt_is_the_interrupt(postgres_url: URL) -> None:
    waiting = asyncio.Event()
    task = asyncio.create_task(refused(postgres_url, waiting))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
