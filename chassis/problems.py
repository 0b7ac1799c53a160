"""Every refusal of an API, as problem details (RFC 9457): what happened, to what, and what to do."""

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis.failures import FailureClass, classify

log = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = "1"
MAX_BODY_BYTES = 64 * 1024
TOO_LARGE = f"The request body is over {MAX_BODY_BYTES} bytes; send less."


class Problem(Exception):
    """Raised by a route: `Problem(409, "already shipped", "Order … left the house.", order_id=…)`."""

    def __init__(self, status: int, title: str, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.detail = detail
        self.extra = extra

    @classmethod
    def of_field(cls, field: str, message: str) -> "Problem":
        """A 422 that names the field, like the ones that validation makes."""
        return cls(
            422, "invalid request", f"{field}: {message}", errors=[{"field": field, "message": message}]
        )


def answer_with_problems(app: FastAPI) -> None:
    app.add_middleware(LimitBody)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


def _response(
    status: int, title: str, detail: str, headers: dict[str, str] | None = None, **extra: Any
) -> JSONResponse:
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, **extra}
    return JSONResponse(body, status, headers, media_type="application/problem+json")


async def _problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    return _response(error.status, error.title, error.detail, **error.extra)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    errors = [{"field": _field(item["loc"]), "message": item["msg"]} for item in error.errors()]
    detail = "; ".join(f"{item['field']}: {item['message']}" for item in errors[:5])
    return _response(422, "invalid request", detail, errors=errors)


def _field(location: Sequence[str | int]) -> str:
    """`("body", "lines", 0, "quantity")` is `lines[0].quantity`."""
    parts = location[1:] if location[0] in ("body", "path", "query", "header") else location
    named = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return named.lstrip(".") or "body"


async def _http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return _response(error.status_code, HTTPStatus(error.status_code).phrase.lower(), str(error.detail))


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    if classify(error) is not FailureClass.PERMANENT:
        log.warning("%s %s refused: %s: %s", request.method, request.url.path, type(error).__name__, error)
        detail = "The database is away, locked or read-only. Try again with the same Idempotency-Key."
        return _response(503, "temporarily unavailable", detail, {"Retry-After": RETRY_AFTER_SECONDS})
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _response(500, "internal error", "Something broke here; the log of this service says what.")


class LimitBody:
    """413 for a body over MAX_BODY_BYTES. FastAPI's own limit answers in plain text, beneath all handlers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        if announced.isdecimal() and int(announced) > MAX_BODY_BYTES:
            await _response(413, "content too large", TOO_LARGE)(scope, receive, send)
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
