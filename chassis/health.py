"""What every process shows of itself: whether it lives, whether it can work, and its metrics."""

import asyncio
from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chassis.database import Database


def health_routes(
    database: Callable[[], Database],
    is_alive: Callable[[], bool] = lambda: True,
    is_ready: Callable[[], bool] = lambda: True,
) -> list[Route]:
    """`/health/live` is 503 when the process is stuck, `/health/ready` also while it or Postgres cannot work."""

    async def live(_: Request) -> Response:
        return _answer(is_alive(), "alive", "stuck")

    async def ready(_: Request) -> Response:
        return _answer(is_alive() and is_ready() and await database().is_reachable(), "ready", "not ready")

    async def metrics(_: Request) -> Response:
        return Response(await asyncio.to_thread(generate_latest), media_type=CONTENT_TYPE_LATEST)

    return [Route("/health/live", live), Route("/health/ready", ready), Route("/metrics", metrics)]


def _answer(good: bool, word: str, otherwise: str) -> Response:
    return JSONResponse({"status": word}) if good else JSONResponse({"status": otherwise}, 503)
