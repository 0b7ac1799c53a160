"""Creates the FastAPI app of a service: problem details, health, admission control, and a trace per request.

An API process has no connection to Kafka or the schema registry.
"""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any

import structlog
from fastapi import Body, Depends, FastAPI, Request
from fastapi_offline import FastAPIOffline
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis.config import Settings, read_settings
from chassis.database import Database
from chassis.http import server
from chassis.http.admission import AdmissionControl
from chassis.http.front_page import FrontPage
from chassis.http.health import health_routes
from chassis.http.openapi import complete, refusals
from chassis.http.problems import Problem, answer_with_problems
from chassis.http.routes import Paths, StrictRoute
from chassis.http.tokens import TokenVerifier
from chassis.service import Service
from chassis.telemetry import metrics, trace_context
from chassis.telemetry.logs import log_each

__all__ = ["Db", "Problem", "create_api", "refusals", "serve", "with_examples"]

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
OTHER_METHOD = "_OTHER"
"""Stands in metrics for methods that are not in METHODS, of which a client can invent any number."""

LOCK_TIMEOUT = "500ms"
"""A request that waits longer than this for a row lock is answered 503, within the second that a POST may take."""

NO_GROUPS: Mapping[str, str] = MappingProxyType({})

log = structlog.get_logger()


def create_api(
    service: Service, about: str = "", groups: Mapping[str, str] = NO_GROUPS, limits_time: bool = True
) -> FastAPI:
    """Returns an app whose `app.state.database` is open while it serves. Routes raise `Problem` to refuse a request.

    `about` says in a sentence what the API is for, `groups` what each tag of its routes means.
    `limits_time`: each POST is answered within a second. False for an API whose requests may change many rows.
    """
    app: FastAPI = FastAPIOffline(
        title=f"Fanout {service.name}",
        description=about,
        openapi_tags=[{"name": name, "description": text} for name, text in groups.items()],
        redoc_url=None,
        lifespan=_lifespan,
        redirect_slashes=False,
    )
    app.router.route_class = StrictRoute
    app.state.paths = Paths(app.router.routes)
    of_routes = app.openapi
    app.openapi = cache(lambda: complete(of_routes()))  # type: ignore[method-assign]
    answer_with_problems(app)
    app.router.routes.append(FrontPage(app.title, about).route())
    app.router.routes.extend(health_routes(lambda: app.state.database))
    app.add_middleware(TraceEachRequest)
    app.state.groups = []
    app.state.limits_time = limits_time
    return app


def with_examples(examples: Mapping[str, Any]) -> Any:
    """Returns what says that a parameter is the body, with examples that work, each named by a sentence about it."""
    return Body(
        openapi_examples={name: {"summary": name, "value": value} for name, value in examples.items()}
    )


def _longest_wait(app: FastAPI) -> float:
    return max((group.longest_wait for group in app.state.groups), default=0.0)


async def serve(app: FastAPI, settings: Settings) -> None:
    """Serves the app over HTTP until SIGTERM or SIGINT; admission control may refuse a request before it sees it.

    Raises UnusableKey, before it listens, if tokens cannot be verified.
    """
    app.state.verifier = TokenVerifier(settings.token_public_key)
    admitting = AdmissionControl(app, lambda: _longest_wait(app)) if app.state.limits_time else app
    await server.serve(admitting, settings.http_host, settings.http_port)


async def _read_only(request: Request) -> AsyncIterator[AsyncConnection]:
    async with request.app.state.database.transaction() as db:
        yield db


Db = Annotated[AsyncConnection, Depends(_read_only, scope="function")]
"""The connection of a route that only reads. Routes that write use `chassis.http.idempotency.Idempotent`.

It is given back before the answer is sent, so that a client who reads slowly does not hold it.
"""


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings = {"lock_timeout": LOCK_TIMEOUT} if app.state.limits_time else {}
    app.state.database = Database(read_settings().database_url, application=app.title, settings=settings)
    yield
    await app.state.database.close()


class TraceEachRequest:
    """Continues the caller's W3C trace or begins a new one, and logs the request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(("/health", "/metrics")):
            await self._app(scope, receive, send)
            return
        trace_context.set_parent_contexts(
            {"": dict(scope["headers"]).get(b"traceparent", b"").decode("ascii", "replace")}
        )
        traceparent = trace_context.traceparent_for("")
        trace_context.set_parent_contexts({"": traceparent})
        structlog.contextvars.bind_contextvars(trace_id=trace_context.trace_id_of(traceparent))
        began, status = time.perf_counter(), 500

        async def record_status(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, record_status)
        finally:
            seconds, method = time.perf_counter() - began, scope["method"]
            known_method = method if method in METHODS else OTHER_METHOD
            metrics.REQUEST_SECONDS.labels(known_method, _route(scope), status).observe(seconds)
            milliseconds = round(seconds * 1000, 1)
            request = {"method": method, "path": scope["path"], "status": status, "ms": milliseconds}
            log_each(log, "request", [request], dict)


def _route(scope: Scope) -> str:
    """Returns the template of the route that a request was given to, such as `/orders/{order_id}`, or "none"."""
    return getattr(scope.get("route"), "path", "none")
