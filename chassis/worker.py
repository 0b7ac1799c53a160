"""A worker: consumer, relay, background tasks and a health page; on SIGTERM it ends its work and leaves the group."""

import asyncio
import os
import re
import signal
from collections.abc import Coroutine, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute

from chassis import liveness, retention
from chassis.config import Settings
from chassis.consumer.kafka import Consumer
from chassis.consumer.outages import Stopped, pause, short
from chassis.consumer.positions import Positions
from chassis.consumer.processing import Processor
from chassis.database import Database
from chassis.dead_letters.reader import DeadLetterConsumer
from chassis.events.registry import Registry
from chassis.events.topics import DEAD_LETTERS
from chassis.http.health import health_routes
from chassis.outbox.relay import Relay
from chassis.service import BackgroundTask, Service

EXIT_DRAIN_TOO_SLOW = 71
ERRAND_SECONDS = 3.0
WORKER_CONNECTIONS = 4
"""Few, so that batches grow instead of transactions that compete with an API's for the processors."""

BY_KEY_ONLY = {"enable_seqscan": "off"}
"""A worker finds rows by their keys. A plan made while a table was small would go on reading all of it."""

log = structlog.get_logger()


async def run(service: Service, settings: Settings) -> None:
    """Returns after a clean drain; ends the process if that takes longer than `drain_seconds`."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _begin_drain, stop, settings.drain_seconds)

    database = Database(
        settings.database_url,
        WORKER_CONNECTIONS,
        settings.instance or f"{service.name}-worker",
        BY_KEY_ONLY,
    )
    registry = Registry(settings.registry_url)
    consumer = _consumer(service, database, registry, settings)
    relay = Relay(service.name, settings.database_url, settings.broker, registry)
    database.wake_relay = relay.wake

    def is_alive() -> bool:
        return consumer.is_alive and relay.health.is_alive

    health = health_routes(
        lambda: database,
        is_alive,
        lambda: consumer.is_ready and relay.health.is_ready,
        lambda: {"relay": relay.health.status, "held_partitions": list(consumer.held)},
    )
    page = _health_page(health, settings)
    serving = asyncio.create_task(page.serve())
    watching = asyncio.create_task(liveness.watch(is_alive))
    log.info("worker_started", topics=service.topics)
    background_tasks = [
        restart_on_failure(task, database, settings, stop)
        for task in (retention.run, *service.background_tasks)
    ]
    await _until_all_end(consumer.run(stop), relay.run(stop), *background_tasks)
    watching.cancel()
    page.should_exit = True
    await serving
    await registry.aclose()
    await database.close()
    log.info("worker_drained")


def _consumer(service: Service, database: Database, registry: Registry, settings: Settings) -> Consumer:
    settings = settings.model_copy(update={"gather_ms": service.gather_ms or settings.gather_ms})
    positions = Positions(service.name, database)
    if service.dead_letter_handler:
        letters = DeadLetterConsumer(service, database, registry)
        return Consumer(positions, re.compile(DEAD_LETTERS), letters, settings)
    return Consumer(positions, service.topics, Processor(service, database, registry), settings)


async def restart_on_failure(
    task: BackgroundTask, database: Database, settings: Settings, stop: asyncio.Event
) -> None:
    """Restarts a failed background task; consumption and relay continue."""
    with suppress(Stopped):
        while True:
            try:
                await task(database, settings, stop)
                return
            except Exception as error:  # last resort of this loop: whatever it was, its rows are still there
                log.exception("background_task_failed", error=short(error), next_try_seconds=ERRAND_SECONDS)
            await pause(ERRAND_SECONDS, stop)


async def _until_all_end(*loops: Coroutine[Any, Any, None]) -> None:
    """If one of them breaks, the error ends the process, and the supervisor starts it again."""
    async with asyncio.TaskGroup() as group:
        for loop in loops:
            group.create_task(loop)


def _begin_drain(stop: asyncio.Event, seconds: float) -> None:
    log.info("draining", at_most_seconds=seconds)
    stop.set()
    asyncio.get_running_loop().call_later(seconds, os._exit, EXIT_DRAIN_TOO_SLOW)


class _Page(uvicorn.Server):
    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        """The worker's own drain answers signals."""
        return nullcontext()


def _health_page(routes: Sequence[BaseRoute], settings: Settings) -> uvicorn.Server:
    app = Starlette(routes=routes)
    return _Page(
        uvicorn.Config(app, settings.http_host, settings.http_port, log_config=None, access_log=False)
    )
