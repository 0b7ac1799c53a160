"""A real HTTP server on a free port, whose replies a test decides."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

REASON = "As-Scripted"


@dataclass(frozen=True)
class Request:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """`raw` replaces the whole answer; then the connection is closed. None says nothing at all."""

    status: int = 201
    body: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = b""

    def encode(self) -> bytes:
        content = json.dumps(self.body).encode()
        lines = {"Content-Length": str(len(content)), **self.headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"HTTP/1.1 {self.status} {REASON}\r\n{head}\r\n".encode() + content


CLOSE = Reply(raw=b"half an answer")
SILENCE = Reply(raw=None)

Script = Callable[[Request], Awaitable[Reply]]


@asynccontextmanager
async def scripted_api(script: Script) -> AsyncIterator[str]:
    """The URL of the server."""
    handlers: set[asyncio.Task[None]] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        handlers.add(task)
        try:
            while request := await _read(reader):
                reply = await script(request)
                if reply.raw is None:
                    await asyncio.Event().wait()
                writer.write(reply.raw or reply.encode())
                if reply.raw:
                    break
        finally:
            writer.close()
            handlers.discard(task)

    server = await asyncio.start_server(converse, "127.0.0.1", 0, backlog=1_000)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.close()
        for handler in list(handlers):
            handler.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    body = await reader.readexactly(int(headers["content-length"]))
    return Request(first.split(" ")[1], headers, json.loads(body))
