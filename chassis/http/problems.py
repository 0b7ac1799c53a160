"""Answers refused and failed requests with problem details (RFC 9457): what happened, to what, and what to do."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis.errors import FailureClass, classify, is_outdated
from chassis.http.group_commit import Overloaded
from chassis.masking import describe

log = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = "1"
MAX_BODY_BYTES = 64 * 1024
OVERLOADED = (
    "Too many requests to answer all within a second. This one had no effect: repeat it after Retry-After."
)
TOO_LARGE = f"The request body is over {MAX_BODY_BYTES} bytes; send less."


NOT_CACHED = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
"""Headers of everything that is data: no cache stores it, and no browser takes it for something else."""


class Problem(Exception):
    """Refuses a request; raised by routes: `Problem(409, "already shipped", "Order … was shipped.", order_id=…)`.

    `reason` is for programs; it does not change. `detail` is for people. The title follows from the status.
    """

    def __init__(
        self, status: int, reason: str, detail: str, headers: Mapping[str, str] | None = None, **extra: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.detail = detail
        self.headers = headers
        self.extra = extra

    @classmethod
    def of_field(cls, field: str, message: str) -> "Problem":
        """Returns a 422 that names the field, as validation does."""
        return cls(
            422, "invalid request", f"{field}: {message}", errors=[{"field": field, "message": message}]
        )


def answer_with_problems(app: FastAPI) -> None:
    """Makes the app answer all errors with problem details."""
    app.add_middleware(LimitBody)
    app.add_middleware(AnswerFailures)
    app.add_middleware(ForbidCaching)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Overloaded, _overloaded)


def problem(
    status: int, reason: str, detail: str, headers: Mapping[str, str] | None = None, **extra: Any
) -> JSONResponse:
    """Returns a response with problem details. The title of a status is always the same, as RFC 9457 asks."""
    body = {
        "type": "about:blank",
        "title": title_of(status),
        "status": status,
        "reason": reason,
        "detail": detail,
    }
    return JSONResponse(
        body | extra, status, {**NOT_CACHED, **(headers or {})}, media_type="application/problem+json"
    )


def title_of(status: int) -> str:
    """Returns the name of the status in RFC 9110; Python before 3.13 has older names of some."""
    return {413: "Content Too Large", 422: "Unprocessable Content"}.get(status) or HTTPStatus(status).phrase


async def _problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    return problem(error.status, error.reason, error.detail, error.headers, **error.extra)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    errors = [{"field": _field(item["loc"]), "message": item["msg"]} for item in error.errors()]
    detail = "; ".join(f"{item['field']}: {item['message']}" for item in errors[:5])
    return problem(422, "invalid request", detail, errors=errors)


def _field(location: Sequence[str | int]) -> str:
    """Returns `lines[0].quantity` for `("body", "lines", 0, "quantity")`."""
    parts = location[1:] if location[0] in ("body", "path", "query", "header") else location
    named = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return named.lstrip(".") or "body"


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    reason, detail, headers = title_of(error.status_code).lower(), str(error.detail), error.headers
    if error.status_code == 404:
        detail = "There is nothing at this path; /docs lists the paths."
    elif error.status_code == 405:
        allowed = ", ".join(_methods_of_path(request))
        detail, headers = f"{request.method} is not possible here, but {allowed}.", {"Allow": allowed}
    return problem(error.status_code, reason, detail, headers)


def _methods_of_path(request: Request) -> list[str]:
    """Returns the methods of all routes with this path. Starlette names those of the first one only."""
    found: set[str] = set()
    for route in request.app.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            found |= getattr(route, "methods", None) or set()
    return sorted(found)


async def _overloaded(_: Request, __: Exception) -> JSONResponse:
    return problem(503, "overloaded", OVERLOADED, {"Retry-After": RETRY_AFTER_SECONDS})


STOPPING = problem(
    503,
    "stopping",
    "The service stops. The request may still have taken effect: repeat it with the same Idempotency-Key.",
    {"Retry-After": RETRY_AFTER_SECONDS},
)


FAILURE = "fanout.failure"
"""The key under which a request's scope has the error that it was answered 500 or 503 for."""


class AnswerFailures:
    """Answers 503 to infrastructure failures and 500 to bugs, and repeats what a migration has outdated.

    Starlette would raise the error again after its answer, and uvicorn would then close the connection, on which the
    client may already be sending its next request.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun, unrouted = False, dict(scope)
        received: list[Message] = []

        async def record_start(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        async def record_received() -> Message:
            received.append(await receive())
            return received[-1]

        async def receive_again() -> Message:
            return received.pop(0) if received else await receive()

        try:
            try:
                await self._app(scope, record_received, record_start)
            except Exception as error:
                if has_begun or not is_outdated(error):
                    raise
                log.warning("%s %s repeated: %s", scope["method"], scope["path"], describe(error))
                await self._app(unrouted, receive_again, record_start)
        except asyncio.CancelledError:  # the server stops, and has waited for this request for long enough
            log.warning("%s %s not finished before the end", scope.get("method"), scope.get("path"))
            if has_begun or scope["type"] != "http":
                raise
            await STOPPING(scope, receive, send)
        except Exception as error:
            if has_begun or scope["type"] != "http":
                raise
            scope[FAILURE] = error
            await _unexpected(scope, error)(scope, receive, send)


def _unexpected(scope: Scope, error: Exception) -> JSONResponse:
    if classify(error) is not FailureClass.PERMANENT:
        log.warning("%s %s refused: %s", scope["method"], scope["path"], describe(error))
        detail = "The database is unavailable, locked or read-only. Repeat the request with the same Idempotency-Key."
        return problem(503, "temporarily unavailable", detail, {"Retry-After": RETRY_AFTER_SECONDS})
    log.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
    return problem(500, "internal error", "The request failed because of a bug; see the log of this service.")


class LimitBody:
    """Answers 413 to a body over MAX_BODY_BYTES. FastAPI's own limit would answer in plain text."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if announced.isdigit() and int(announced) > MAX_BODY_BYTES:
            await problem(413, "content too large", TOO_LARGE)(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MAX_BODY_BYTES:
                raise HTTPException(413, TOO_LARGE)
            return message

        await self._app(scope, counted, send)


class ForbidCaching:
    """Adds NOT_CACHED to every answer, except to the pages of the documentation."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(("/docs", "/static-offline-docs")):
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                added = (header for header in NOT_CACHED_RAW if header[0] not in given)
                message["headers"] = [*message["headers"], *added]
            await send(message)

        await self._app(scope, receive, with_headers)


NOT_CACHED_RAW = [(name.lower().encode(), value.encode()) for name, value in NOT_CACHED.items()]
