"""Serves lag and more as Prometheus metrics (metrics.py), measured when asked for, also with all workers dead."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, TypeVar

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chassis.config import Broker
from fanout.databases import Databases
from fanout.errors import FanoutError
from fanout.lag.business import DEAD_LETTERS, ORDERS, DeadLetters, Orders
from fanout.lag.measure import LagMeter
from fanout.lag.metrics import Figures, metrics

FRESH_SECONDS = 1.0
"""Who asks again within so long gets the same figures."""
COUNTED = 10_000
"""Outbox rows to send are counted up to this number."""

T = TypeVar("T")


class Exporter:
    def __init__(self, broker: Broker, databases: Databases) -> None:
        self._meter = LagMeter(broker, databases, COUNTED)
        self._services = list(databases)
        self._orders = Orders(self._meter.databases)
        self._dead_letters = DeadLetters(self._meter.databases)
        self._measuring = asyncio.Lock()
        self._text, self._at = b"", -FRESH_SECONDS

    async def text(self) -> bytes:
        """Returns all metrics in Prometheus' text format."""
        async with self._measuring:
            if monotonic() - self._at >= FRESH_SECONDS:
                found = await self._figures()
                self._text, self._at = rendered(metrics(found, self._services)), monotonic()
        return self._text

    def close(self) -> None:
        self._meter.close()

    async def _figures(self) -> Figures:
        measured = await self._meter.measure()
        errors: dict[str, FanoutError] = {}

        async def read(source: str, ask: Callable[[], Coroutine[Any, Any, T]]) -> T | None:
            if source in measured.errors or source not in self._services:
                return None
            try:
                return await ask()
            except FanoutError as error:
                errors[source] = error
                return None

        orders = await read(ORDERS, self._orders.figures)
        dead_letters = await read(DEAD_LETTERS, self._dead_letters.figures)
        return Figures(measured, orders, dead_letters, errors)


def serve(broker: Broker, databases: Databases, host: str, port: int) -> None:
    """Serves until SIGTERM or SIGINT. Ends the process if the port is in use."""
    config = uvicorn.Config(
        app(Exporter(broker, databases)), host, port, log_level="warning", access_log=False
    )
    uvicorn.Server(config).run()


def app(exporter: Exporter) -> Starlette:
    async def answer(_: Request) -> Response:
        return Response(await exporter.text(), media_type=CONTENT_TYPE_LATEST)

    async def healthy(_: Request) -> Response:
        return JSONResponse({"status": "ready"})

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        exporter.close()

    routes = [
        Route("/metrics", answer),
        Route("/health/live", healthy),
        Route("/health/ready", healthy),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


class _Found(Collector):
    def __init__(self, found: Sequence[Metric]) -> None:
        self._found = found

    def collect(self) -> Iterator[Metric]:
        yield from self._found


def rendered(found: Iterator[Metric]) -> bytes:
    """Adds the exporter's own CPU and memory."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Found(list(found)))
    ProcessCollector(registry=registry)
    return generate_latest(registry)
