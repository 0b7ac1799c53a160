"""An application behind our HTTP server, on a free port, and its answers as they arrive."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import ASGIApp

from chassis.http import server


async def read_answer(reader: asyncio.StreamReader) -> bytes:
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return head + await asyncio.wait_for(reader.readexactly(length), 5)


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[int]:
    """Yields the port at which `app` is served."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    served = server.AcceptingServer(server.configuration(app, "127.0.0.1", port))
    task = asyncio.create_task(served.serve())
    while not served.started:
        assert not task.done()
        await asyncio.sleep(0.01)
    yield port
    served.should_exit = True
    await task
