"""Admission control: each POST is answered within a second under any load, with 503 if need be.

Requests beyond the capacity are refused before they are read, which costs some 25 µs each and leaves the CPU to the
admitted ones. The queue is limited by waiting time, because its length does not tell how long it takes.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis.http.problems import OVERLOADED, RETRY_AFTER_SECONDS, problem
from chassis.telemetry import metrics

ADMITTED_AT_ONCE = 400
"""The limit of admitted POSTs: reading more of them could itself take a second."""
LONGEST_WAIT_SECONDS = 0.25
"""While a request waits longer than this for a transaction, new requests are refused."""
ANSWER_SECONDS = 0.85
"""An admitted request without an answer after this time is answered 503."""
CHECK_EVERY_SECONDS = 0.05
LOG_EVERY_SECONDS = 1.0
REFUSED = {reason: metrics.REFUSED.labels(reason) for reason in ("overloaded", "not answered in time")}

REFUSAL = problem(503, "overloaded", OVERLOADED, {"Retry-After": RETRY_AFTER_SECONDS})
TOO_LATE = problem(
    503,
    "not answered in time",
    "The database did not answer within a second. The request may still take effect: "
    "repeat it with the same Idempotency-Key.",
    {"Retry-After": RETRY_AFTER_SECONDS},
)

log = structlog.get_logger()


@dataclass(eq=False, slots=True)
class _Request:
    send: Send
    began: float
    is_answered: bool = False
    is_abandoned: bool = False

    async def pass_on(self, message: Message) -> None:
        """Sends the application's answer, unless the request was already answered 503."""
        if not self.is_abandoned:
            self.is_answered = True
            await self.send(message)


class AdmissionControl:
    """ASGI middleware for POST requests. `longest_wait` returns the seconds that the oldest one has waited."""

    def __init__(self, app: ASGIApp, longest_wait: Callable[[], float]) -> None:
        self._app = app
        self._longest_wait = longest_wait
        self._admitted: dict[_Request, None] = {}
        self._watching: asyncio.Task[None] | None = None
        self._refused = 0
        self._logged_at = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        if self.is_full(len(self._admitted)):
            self.count_refusal()
            await REFUSAL(scope, receive, send)
            return
        request = _Request(send, monotonic())
        self._admitted[request] = None
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._answer_in_time(scope, receive))
        try:
            await self._app(scope, receive, request.pass_on)
        finally:
            self._admitted.pop(request, None)

    def is_full(self, admitted: int) -> bool:
        return admitted >= ADMITTED_AT_ONCE or self._longest_wait() > LONGEST_WAIT_SECONDS

    async def _answer_in_time(self, scope: Scope, receive: Receive) -> None:
        """Answers 503 to requests that take too long. Their work continues, because it may already be committing."""
        while self._admitted:
            too_old = monotonic() - ANSWER_SECONDS
            for request in [each for each in self._admitted if each.began < too_old]:
                self._admitted.pop(request, None)
                if not request.is_answered:
                    request.is_abandoned = True
                    REFUSED["not answered in time"].inc()
                    await TOO_LATE(scope, receive, request.send)
            await asyncio.sleep(CHECK_EVERY_SECONDS)

    def count_refusal(self) -> None:
        """Counts a refusal, and logs their number at most once in `LOG_EVERY_SECONDS`."""
        REFUSED["overloaded"].inc()
        self._refused += 1
        if monotonic() - self._logged_at > LOG_EVERY_SECONDS:
            log.warning("requests_refused", count=self._refused, admitted=len(self._admitted))
            self._refused, self._logged_at = 0, monotonic()
