"""Health and metrics endpoints of every process."""

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chassis.database import Database

NO_DETAILS: Mapping[str, Any] = MappingProxyType({})


def health_routes(
    database: Callable[[], Database],
    is_alive: Callable[[], bool] = lambda: True,
    is_ready: Callable[[], bool] = lambda: True,
    details: Callable[[], Mapping[str, Any]] = dict,
) -> list[Route]:
    """Returns `/health/live` (503 if the process is stuck), `/health/ready` (503 if it cannot work) and `/metrics`.

    `/metrics` has exemplars for who accepts OpenMetrics, as Prometheus does; the plain format cannot hold them.
    `/health/ready` includes `details`, such as partitions that cannot be read; while others can, they are no reason
    for 503.
    """

    async def live(_: Request) -> Response:
        return _answer(is_alive(), "alive", "stuck")

    async def ready(_: Request) -> Response:
        good = is_alive() and is_ready() and await database().is_reachable()
        return _answer(good, "ready", "not ready", details())

    async def metrics(request: Request) -> Response:
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        content = await asyncio.to_thread(encode, REGISTRY)
        return Response(content, headers={"Content-Type": media_type, "Vary": "Accept"})

    return [Route("/health/live", live), Route("/health/ready", ready), Route("/metrics", metrics)]


def _answer(good: bool, word: str, otherwise: str, details: Mapping[str, Any] = NO_DETAILS) -> Response:
    return JSONResponse({"status": word if good else otherwise, **details}, 200 if good else 503)
