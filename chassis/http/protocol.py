"""One HTTP connection: reads whole requests, closes when the client is too slow, refuses with problem details.

The application sees a request when its body is complete, so that a slow client costs a connection and nothing else: no
task, no admitted request, no database connection. uvicorn by itself waits for a begun request for ever.
"""

import asyncio

from starlette.responses import Response
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from chassis.http.problems import MAX_BODY_BYTES, problem

DEADLINE_SECONDS = 10.0
"""A client that takes longer to send a request, or to read an answer, is disconnected."""
MAX_HEAD_BYTES = 32 * 1024

CLOSE = {"Connection": "close"}


def to_bytes(answer: Response) -> bytes:
    """Returns the answer as it is sent, but without Date, which RFC 9110 allows for 4xx and 5xx."""
    headers = b"".join(name + b": " + value + b"\r\n" for name, value in answer.raw_headers)
    return STATUS_LINE[answer.status_code] + headers + b"\r\n" + bytes(answer.body)


INVALID = to_bytes(
    problem(400, "invalid HTTP", "The request is not valid HTTP/1.1. The connection is closed.", CLOSE)
)
TOO_SLOW = to_bytes(
    problem(408, "too slow", f"The request was not complete within {DEADLINE_SECONDS:.0f} seconds.", CLOSE)
)
HEAD_TOO_LARGE = to_bytes(
    problem(431, "headers too large", f"Request line and headers are over {MAX_HEAD_BYTES} bytes.", CLOSE)
)


class HeadTooLarge(Exception):
    """Ends the parsing of a request whose head is over MAX_HEAD_BYTES."""


class DeadlineProtocol(HttpToolsProtocol):
    """One connection. The server calls `close_if_overdue` from time to time: a timer of its own would cost more."""

    _is_reading = False
    """Whether a request has begun and is not complete."""
    _is_in_head = False
    _head_bytes = 0
    _held: ASGI3Application | None = None
    """What the request will be given to when its body is complete."""
    _refusal: bytes | None = None
    _waits_since = 0.0
    """When it began to wait for a request, or for the rest of one."""
    _unread_since: float | None = None
    """Since when the client reads too slowly for anything more to be sent."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._waits_since = self.loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        self._held = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            return
        super().data_received(data)
        if self._refusal is not None:
            return
        if self._held is not None:
            self._expect_the_rest()
        elif self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(HEAD_TOO_LARGE)

    def on_message_begin(self) -> None:
        self._is_reading = self._is_in_head = True
        self._head_bytes = 0
        self._waits_since = self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD_BYTES:
            self._refuse(HEAD_TOO_LARGE)
            raise HeadTooLarge
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_reading = False
        super().on_message_complete()
        if self._held is not None:
            self._start_held()

    def on_response_complete(self) -> None:
        self._waits_since = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        self._unread_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._unread_since = None
        super().resume_writing()

    def shutdown(self) -> None:
        if self._held is not None:
            self.transport.close()
        else:
            super().shutdown()

    def close_if_overdue(self) -> None:
        """Closes the connection if the client has been too slow; does nothing while the application works."""
        latest = self.loop.time() - DEADLINE_SECONDS
        if self._unread_since is not None and self._unread_since < latest:
            self.transport.abort()
        elif self._waits_since < latest and not self._is_working():
            if self.transport.is_closing():
                self.transport.abort()
            elif self._refusal is None and (self._is_in_head or self._held is not None):
                self._refuse(TOO_SLOW)
            else:
                self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Answers what the parser refuses."""
        self._refuse(INVALID)

    def _refuse(self, answer: bytes) -> None:
        """Answers and closes, after the answers to earlier requests. What the client still sends is not read."""
        if self._refusal is not None:
            return
        self._refusal = answer
        if self._is_working():
            self.cycle.keep_alive = False
        else:
            self._close_with_refusal()

    def _close_with_refusal(self) -> None:
        assert self._refusal is not None
        self._held = None
        self.transport.write(self._refusal)
        self.transport.close()

    def _is_working(self) -> bool:
        """Whether a request was handed over and is not answered."""
        return self.cycle is not None and not self.cycle.response_complete and self._held is None

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        if not cycle.more_body:
            super()._start_asgi_task(cycle, app)
        elif self._refusal is not None:  # of this request, which had to wait for earlier ones
            self._close_with_refusal()
        else:
            self._held = app

    def _start_held(self) -> None:
        app, self._held = self._held, None
        assert app is not None
        super()._start_asgi_task(self.cycle, app)

    def _expect_the_rest(self) -> None:
        """Lets the client send the rest of the body, unless it is too large: then the application refuses it now."""
        lengths = [value for name, value in self.headers if name == b"content-length"]
        if len(self.cycle.body) > MAX_BODY_BYTES or any(int(each) > MAX_BODY_BYTES for each in lengths):
            self._start_held()
        elif self.cycle.waiting_for_100_continue:
            self.cycle.waiting_for_100_continue = False
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
