"""Reading all databases at once leaves no connection open, whatever ends it."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from fanout import databases
from fanout.databases import read_each
from fanout.errors import Unreachable

URLS = {"orders": "", "fraud": "", "payments": ""}


async def turns(count: int) -> None:
    """Lets everything else go on for so many turns of the event loop."""
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happens to connections that take the longer to close, the later their service is in URLS."""
    happened: list[str] = []

    @asynccontextmanager
    async def slow_to_close(service: str, _: str) -> AsyncIterator[None]:
        try:
            yield
        finally:
            try:
                await turns(10 * list(URLS).index(service))
            except asyncio.CancelledError:
                happened.append(f"{service} is cancelled while it closes")
                raise
            happened.append(f"{service} is closed")

    monkeypatch.setattr(databases, "snapshot", slow_to_close)
    return happened


CLOSED = [f"{service} is closed" for service in URLS]


def test_an_interrupted_read_closes_every_connection_before_it_ends(events: list[str]) -> None:
    async def interrupted() -> None:
        main, begun = asyncio.current_task(), set()
        assert main

        async def read(service: str, _: AsyncConnection) -> None:
            begun.add(service)
            if begun == set(URLS):
                main.cancel()
            await asyncio.Event().wait()

        await read_each(URLS, read)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(interrupted())
    assert events == CLOSED


def test_a_failed_read_closes_every_connection_and_raises_its_error(events: list[str]) -> None:
    async def read(service: str, _: AsyncConnection) -> None:
        if service == "orders":
            raise Unreachable("the database of orders", "here")
        await asyncio.Event().wait()

    with pytest.raises(Unreachable, match="the database of orders"):
        asyncio.run(read_each(URLS, read))
    assert events == CLOSED


async def test_results_are_in_the_order_of_the_databases(events: list[str]) -> None:
    async def read(service: str, _: AsyncConnection) -> str:
        await turns(len(service))
        return service

    assert await read_each(URLS, read) == list(URLS)


async def test_a_connection_that_fails_while_it_closes_after_a_cancel_is_not_logged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As after Postgres was killed in the middle of a question; nobody would look for such an error anyway."""
    logged: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: logged.append(context["message"]))

    class Connection:
        async def close(self) -> None:
            await turns(5)
            raise OSError("another operation is in progress")

    class Engine:
        async def connect(self) -> Connection:
            return Connection()

        async def dispose(self) -> None: ...

    monkeypatch.setattr(databases, "create_async_engine", lambda *_, **__: Engine())

    async def read_on() -> None:
        async with databases.session("orders", "postgresql://here/orders"):
            await asyncio.Event().wait()

    task = asyncio.create_task(read_on())
    await turns(6)
    task.cancel()
    await turns(4)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    del task
    gc.collect()
    assert logged == []
