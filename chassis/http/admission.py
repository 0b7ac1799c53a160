"""Admission control: a POST is taken or refused within a second, whatever is offered.

What cannot be taken is refused at the door, before it is read, for some 25 µs: the work that is taken keeps the
processors. The queue is bounded by time, since its length says nothing about how long it takes.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis import telemetry
from chassis.http.problems import OVERLOADED, RETRY_AFTER_SECONDS, problem

AT_ONCE = 400
"""More POSTs than this are never in hand, so that reading them alone cannot take a second."""
LONGEST_WAIT_SECONDS = 0.25
"""While somebody waits longer than this for a transaction, newcomers are refused."""
ANSWER_SECONDS = 0.85
LOOK_EVERY_SECONDS = 0.05
LOG_EVERY_SECONDS = 1.0
REFUSED = {reason: telemetry.REFUSED.labels(reason) for reason in ("overloaded", "not answered in time")}

REFUSAL = problem(503, "overloaded", OVERLOADED, {"Retry-After": RETRY_AFTER_SECONDS})
TOO_LATE = problem(
    503,
    "not answered in time",
    "The database did not answer within a second, and may still do what was asked. "
    "Ask again with the same Idempotency-Key.",
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
        """Sends what the application answers, unless it comes too late."""
        if not self.is_abandoned:
            self.is_answered = True
            await self.send(message)


class AdmissionControl:
    """ASGI middleware for POST requests. `longest_wait` returns for how long, in seconds, the oldest one waits."""

    def __init__(self, app: ASGIApp, longest_wait: Callable[[], float]) -> None:
        self._app = app
        self._longest_wait = longest_wait
        self._in_hand: dict[_Request, None] = {}
        self._watching: asyncio.Task[None] | None = None
        self._refused = 0
        self._logged_at = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        if self.is_full(len(self._in_hand)):
            self.count_refusal()
            await REFUSAL(scope, receive, send)
            return
        request = _Request(send, monotonic())
        self._in_hand[request] = None
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._answer_in_time(scope, receive))
        try:
            await self._app(scope, receive, request.pass_on)
        finally:
            self._in_hand.pop(request, None)

    def is_full(self, in_hand: int) -> bool:
        return in_hand >= AT_ONCE or self._longest_wait() > LONGEST_WAIT_SECONDS

    async def _answer_in_time(self, scope: Scope, receive: Receive) -> None:
        """Answers for requests whose work takes too long; the work itself goes on, as it may be committing."""
        while self._in_hand:
            too_old = monotonic() - ANSWER_SECONDS
            for request in [each for each in self._in_hand if each.began < too_old]:
                self._in_hand.pop(request, None)
                if not request.is_answered:
                    request.is_abandoned = True
                    REFUSED["not answered in time"].inc()
                    await TOO_LATE(scope, receive, request.send)
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    def count_refusal(self) -> None:
        REFUSED["overloaded"].inc()
        self._refused += 1
        if monotonic() - self._logged_at > LOG_EVERY_SECONDS:
            log.warning("requests_refused", count=self._refused, in_hand=len(self._in_hand))
            self._refused, self._logged_at = 0, monotonic()
