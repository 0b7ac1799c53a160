"""Orders on their way over a limited number of connections, one at a time over each; as little work as possible."""

import asyncio
import time
from asyncio import Transport
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

KEEP_ALIVE_SECONDS = 3.0


@dataclass(slots=True)
class Order:
    request: bytes
    due: float
    sent: float = 0.0
    answered: float = 0.0
    outcome: str = ""


@dataclass
class Customers:
    """All orders of one run and the connections they are sent over."""

    host: str
    port: int
    most: int
    orders: Sequence[Order]
    idle: list["Connection"] = field(default_factory=list)
    waiting: deque[Order] = field(default_factory=deque)
    open: int = 0
    left: int = 0
    done: asyncio.Event = field(default_factory=asyncio.Event)
    connecting: set[asyncio.Task[None]] = field(default_factory=set)

    def send(self, order: Order) -> None:
        while self.idle:
            connection = self.idle.pop()
            if connection.is_fresh():
                connection.send(order)
                return
            connection.close()
        if self.open < self.most:
            self.open += 1
            order.sent = time.perf_counter()
            task = asyncio.create_task(self._connect(order))
            self.connecting.add(task)
            task.add_done_callback(self.connecting.discard)
        else:
            self.waiting.append(order)

    async def _connect(self, order: Order) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, made = await loop.create_connection(lambda: Connection(self), self.host, self.port)
        except OSError:
            self.finish(order, "not connected")
            self._one_less()
        else:
            made.send(order, order.sent)

    def finish(self, order: Order, outcome: str) -> None:
        order.answered, order.outcome = time.perf_counter(), outcome
        self.left -= 1
        if not self.left:
            self.done.set()

    def free(self, connection: "Connection") -> None:
        if self.waiting:
            connection.send(self.waiting.popleft())
        else:
            self.idle.append(connection)

    def lost(self, connection: "Connection") -> None:
        if connection in self.idle:
            self.idle.remove(connection)
        self._one_less()

    def _one_less(self) -> None:
        self.open -= 1
        if self.waiting:
            self.send(self.waiting.popleft())


class Connection(asyncio.Protocol):
    def __init__(self, customers: Customers) -> None:
        self._customers = customers
        self._transport: Transport | None = None
        self._order: Order | None = None
        self._received = b""
        self._used = 0.0
        self._closed = False

    def is_fresh(self) -> bool:
        """Whether the server certainly keeps it open still."""
        return time.perf_counter() - self._used < KEEP_ALIVE_SECONDS

    def close(self) -> None:
        assert self._transport
        self._closed = True
        self._transport.close()
        self._customers.lost(self)

    def send(self, order: Order, sent: float = 0.0) -> None:
        order.sent = sent or time.perf_counter()
        if self._closed:
            self._customers.finish(order, "reset")
            return
        self._order = order
        assert self._transport
        self._transport.write(order.request)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        lower = head.lower()
        length = int(lower.partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self._received = b""
        self._used = time.perf_counter()
        status = head[9:12].decode()
        if status == "503" and b"\r\nretry-after:" not in lower:
            status = "503 without Retry-After"
        order, self._order = self._order, None
        if order:
            self._customers.finish(order, status)
        if b"connection: close" in lower:
            self.close()
        else:
            self._customers.free(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self._order:
            self._customers.finish(self._order, "reset")
        if not self._closed:
            self._closed = True
            self._customers.lost(self)
