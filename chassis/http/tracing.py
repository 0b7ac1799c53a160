"""A span, a log line and a measurement for each request. A request continues the caller's W3C trace, or begins one."""

import time
from collections.abc import Iterable

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis.http.problems import FAILURE
from chassis.masking import describe
from chassis.telemetry import metrics, traces
from chassis.telemetry.logs import log_each
from chassis.telemetry.span import Attributes, Span
from chassis.telemetry.trace_context import TraceContext, new_root, parse, set_parents

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
OTHER_METHOD = "_OTHER"
"""Stands for methods that are not in METHODS, of which a client can invent any number."""
NO_ROUTE = "none"

log = structlog.get_logger()


class TraceEachRequest:
    """ASGI middleware; health checks and metrics are left out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(("/health", "/metrics")):
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in METHODS else OTHER_METHOD
        received = received_context(scope["headers"])
        span = traces.start(method, traces.SERVER, received)
        context = span.context if span else received or new_root()
        set_parents({"": context})
        structlog.contextvars.bind_contextvars(trace_id=context.trace_id, span_id=context.span_id)
        began, status = time.perf_counter(), 500

        async def record_status(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, record_status)
        except Exception as error:
            scope[FAILURE] = error
            raise
        finally:
            seconds, route = time.perf_counter() - began, _route(scope)
            metrics.REQUEST_SECONDS.labels(method, route, status).observe(seconds, traces.exemplar(span))
            if span:
                _end(span, scope, method, route, status)
            milliseconds = round(seconds * 1000, 1)
            request = {"method": scope["method"], "path": scope["path"], "status": status, "ms": milliseconds}
            log_each(log, "request", [request], dict)


def received_context(headers: Iterable[tuple[bytes, bytes]]) -> TraceContext | None:
    """Returns the caller's context, or None if there is none, more than one, or one that is not valid."""
    parents, states = [], []
    for name, value in headers:
        if name == b"traceparent":
            parents.append(value.decode("ascii", "replace"))
        elif name == b"tracestate":
            states.append(value.decode("ascii", "replace"))
    return parse(parents[0].strip(" \t"), ",".join(states)) if len(parents) == 1 else None


def _route(scope: Scope) -> str:
    """Returns the template of the route that a request was given to, such as `/orders/{order_id}`."""
    return getattr(scope.get("route"), "path", NO_ROUTE)


def _end(span: Span, scope: Scope, method: str, route: str, status: int) -> None:
    """Describes the request as the semantic conventions for HTTP ask: only what the server failed at is an error."""
    about: Attributes = {
        "http.request.method": method,
        "http.response.status_code": status,
        "url.path": scope["path"],
        "url.scheme": scope["scheme"],
    }
    span.set(about)
    if route != NO_ROUTE:
        span.rename(f"{method} {route}")
        span.set({"http.route": route})
    if failure := scope.get(FAILURE):
        span.set({"error.type": type(failure).__name__})
        span.exception(failure)
        span.set_error(describe(failure))
    elif status >= 500:
        span.set({"error.type": str(status)})
        span.set_error(f"answered {status}")
    span.end()
