"""Runs an API on uvicorn, with additions that keep it responsive under overload and with slow clients.

All waiting connections are accepted at once: uvloop accepts one per iteration of the event loop (libuv ≥ 1.45), and of
2,000 new connections the last were accepted after 12 s. While admission control is full, a POST is refused before
it is parsed, in some 10 µs instead of 130. Connections of slow clients are closed (`chassis.http.protocol`).
"""

import asyncio
import os
import re
import socket

import uvicorn
from starlette.types import ASGIApp

from chassis.http.admission import REFUSAL, AdmissionControl
from chassis.http.protocol import DeadlineProtocol, to_bytes

SWEEP_SECONDS = 1.0
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)[ \t]*(?=\r\n|$)", re.IGNORECASE)
NEEDS_PARSING = re.compile(rb"\r\n(?:transfer-encoding|expect|upgrade|connection:[ \t]*close)", re.IGNORECASE)


async def serve(app: ASGIApp, host: str, port: int) -> None:
    """Serves `app` until SIGTERM or SIGINT. If it is AdmissionControl, it refuses POSTs before they are parsed."""
    await AcceptingServer(configuration(app, host, port)).serve()


def configuration(app: ASGIApp, host: str, port: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host,
        port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=5,
        http=RefusingProtocol if isinstance(app, AdmissionControl) else DeadlineProtocol,
        proxy_headers=False,
    )


class RefusingProtocol(DeadlineProtocol):
    """One connection. While admission control is full, refuses a POST that arrived in one piece without parsing it."""

    def data_received(self, data: bytes) -> None:
        admission: AdmissionControl = self.config.app  # type: ignore[assignment]
        if self._is_idle() and admission.is_full(len(self.tasks)) and _is_one_whole_post(data):
            self._unset_keepalive_if_required()
            admission.count_refusal()
            self.transport.write(REFUSAL_BYTES)
            self.on_response_complete()
        else:
            super().data_received(data)

    def _is_idle(self) -> bool:
        return not self._is_reading and (self.cycle is None or self.cycle.response_complete)


def _is_one_whole_post(data: bytes) -> bool:
    """Returns True if `data` is exactly one HTTP/1.1 POST with its body, and the connection stays open after it."""
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = CONTENT_LENGTH.findall(head)
    return (
        data.startswith(b"POST ")
        and head.partition(b"\r\n")[0].endswith(b" HTTP/1.1")
        and len(lengths) == 1
        and int(lengths[0]) == len(body)
        and not NEEDS_PARSING.search(head)
    )


REFUSAL_BYTES = to_bytes(REFUSAL)


class AcceptingServer(uvicorn.Server):
    """Accepts all waiting connections, in addition to uvloop, which accepts one per iteration of the event loop.

    Closes connections of slow clients once a second: for 2,000 connections that takes half a millisecond.
    """

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._accepting: set[asyncio.Task[object]] = set()
        listening = [each for server in self.servers for each in server.sockets]
        self._listeners = [socket.socket(fileno=os.dup(each.fileno())) for each in listening]
        for listener in self._listeners:
            listener.setblocking(False)
            asyncio.get_running_loop().add_reader(listener, self._accept_all, listener)
        self._close_overdue()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for listener in self._listeners:
            asyncio.get_running_loop().remove_reader(listener)
            listener.close()
        await super().shutdown(sockets)
        self._sweeping.cancel()

    def _accept_all(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.setblocking(False)
            task = loop.create_task(loop.connect_accepted_socket(self._protocol, connection))
            self._accepting.add(task)
            task.add_done_callback(self._accepting.discard)

    def _close_overdue(self) -> None:
        for connection in list(self.server_state.connections):
            if isinstance(connection, DeadlineProtocol):
                connection.close_if_overdue()
        self._sweeping = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._close_overdue)

    def _protocol(self) -> asyncio.Protocol:
        protocol_class = self.config.http_protocol_class
        return protocol_class(self.config, self.server_state, self.lifespan.state)  # type: ignore[call-arg]
