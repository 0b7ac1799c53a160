"""The FastAPI app of a service: problem details, health, metrics, a body limit. It knows no Kafka and no registry."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated

import structlog
import uvicorn
from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis import telemetry
from chassis.config import Settings
from chassis.database import Database
from chassis.problems import Problem, answer_with_problems
from chassis.service import Service

__all__ = ["Db", "Problem", "create_api", "health_app", "serve"]

log = structlog.get_logger()


def create_api(service: Service) -> FastAPI:
    """An app whose `app.state.database` is open while it serves. Raise `Problem` to refuse a request."""
    app = FastAPIOffline(title=f"Fanout {service.name}", redoc_url=None, lifespan=_lifespan)
    answer_with_problems(app)
    _add_health(app, lambda: app.state.database, lambda: True)
    app.add_middleware(TraceEachRequest)
    return app


def health_app(service: Service, database: Database, is_alive: Callable[[], bool]) -> FastAPI:
    """What a worker shows of itself."""
    app = FastAPI(title=f"Fanout {service.name} worker", openapi_url=None)
    _add_health(app, lambda: database, is_alive)
    return app


async def serve(app: FastAPI, settings: Settings) -> None:
    config = uvicorn.Config(
        app,
        settings.http_host,
        settings.http_port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=5,
    )
    await uvicorn.Server(config).serve()


async def _read_only(request: Request) -> AsyncIterator[AsyncConnection]:
    async with request.app.state.database.transaction() as db:
        yield db


Db = Annotated[AsyncConnection, Depends(_read_only)]
"""A connection for routes that only read. Routes that write use `chassis.idempotency.Once`."""


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.database = Database(Settings().database_url, application=app.title)
    yield
    await app.state.database.close()


def _add_health(app: FastAPI, database: Callable[[], Database], is_alive: Callable[[], bool]) -> None:
    @app.get("/health/live", tags=["health"])
    async def live() -> Response:
        return JSONResponse({"status": "alive"}) if is_alive() else JSONResponse({"status": "stuck"}, 503)

    @app.get("/health/ready", tags=["health"])
    async def ready() -> Response:
        if is_alive() and await database().is_reachable():
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "not ready"}, 503)

    @app.get("/metrics", tags=["health"])
    async def metrics() -> Response:
        return Response(await asyncio.to_thread(generate_latest), media_type=CONTENT_TYPE_LATEST)


class TraceEachRequest:
    """Continues the caller's W3C trace or begins one, and logs one line a request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(("/health", "/metrics")):
            await self._app(scope, receive, send)
            return
        telemetry.set_causes({"": dict(scope["headers"]).get(b"traceparent", b"").decode("ascii", "replace")})
        traceparent = telemetry.traceparent_for("")
        telemetry.set_causes({"": traceparent})
        structlog.contextvars.bind_contextvars(trace_id=telemetry.trace_id_of(traceparent))
        began, status = time.perf_counter(), 500

        async def note_status(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, note_status)
        finally:
            log.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=status,
                ms=round((time.perf_counter() - began) * 1000, 1),
            )
