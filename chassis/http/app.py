"""Creates the FastAPI app of a service: problem details, health, admission control, and a trace per request.

An API process has no connection to Kafka or the schema registry.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any

from fastapi import Body, Depends, FastAPI, Request
from fastapi.telemetry import TelemetryConfig
from fastapi_offline import FastAPIOffline
from sqlalchemy.ext.asyncio import AsyncConnection

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
from chassis.http.tracing import TraceEachRequest
from chassis.service import Service

__all__ = ["Db", "Problem", "create_api", "refusals", "serve", "with_examples"]

LOCK_TIMEOUT = "500ms"
"""A request that waits longer than this for a row lock is answered 503, within the second that a POST may take."""

NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
"""Requests are measured and traced by TraceEachRequest; FastAPI would do it once more, by other rules."""
NO_GROUPS: Mapping[str, str] = MappingProxyType({})


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
        telemetry=NO_TELEMETRY,
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
