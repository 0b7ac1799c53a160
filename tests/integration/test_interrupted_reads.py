"""An interrupted read of several databases says nothing: the libraries log a traceback for a connection cut short."""

import asyncio
import gc
import logging

import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection

from fanout.databases import read_each

DELAYS = range(5, 150, 12)
"""Milliseconds after which a read is interrupted: while it connects, reads, or disconnects."""


def test_a_read_that_is_interrupted_at_any_time_logs_nothing(
    postgres_url: URL, caplog: pytest.LogCaptureFixture
) -> None:
    url = postgres_url.render_as_string(hide_password=False)

    async def read(_: str, db: AsyncConnection) -> None:
        for _number in range(3):
            await db.execute(text("SELECT 1"))

    async def interrupted_after(milliseconds: int) -> None:
        main = asyncio.current_task()
        assert main
        asyncio.get_running_loop().call_later(milliseconds / 1000, main.cancel)
        while True:
            await read_each(dict.fromkeys(("orders", "payments", "fraud", "inventory"), url), read)

    for delay in DELAYS:
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(interrupted_after(delay))
    gc.collect()
    assert [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR] == []
