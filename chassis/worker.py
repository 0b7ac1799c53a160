"""Runs a worker: consumer, relay, background tasks and health endpoints. On SIGTERM it drains and leaves the group."""

import asyncio
import os
import re
import signal
from collections.abc import Coroutine, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from typing import Any

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute

from chassis import liveness, retention
from chassis.config import Settings
from chassis.consumer.batch import EventProcessor
from chassis.consumer.kafka import Consumer
from chassis.consumer.positions import Positions
from chassis.consumer.retry import Stopped, pause
from chassis.database import Database
from chassis.dead_letters.reader import DeadLetterConsumer
from chassis.events.kafka_topics import KafkaTopics
from chassis.events.registry import Registry
from chassis.events.topics import DEAD_LETTERS
from chassis.http.health import health_routes
from chassis.masking import describe
from chassis.outbox.registration import RegistrationCheck
from chassis.outbox.relay import Relay
from chassis.service import BackgroundTask, Service
from chassis.telemetry import metrics, traces

EXIT_DRAIN_TOO_SLOW = 71
BACKGROUND_RETRY_SECONDS = 3.0
EXIT_SECONDS = 1.0
"""Of the time for the drain, what the last spans leave for the rest of the exit."""
WORKER_CONNECTIONS = 4
"""Few, so that under load batches grow, instead of more transactions competing with the APIs for the CPU."""

NO_SEQUENTIAL_SCANS = {"enable_seqscan": "off"}
"""Workers look rows up by key. A plan made while a table was small would keep scanning all of it."""

log = structlog.get_logger()


async def run(service: Service, settings: Settings) -> None:
    """Runs until SIGTERM or SIGINT, and drains. Ends the process if that takes longer than `drain_seconds`."""
    stop = asyncio.Event()
    drain = _Drain(stop, settings.drain_seconds)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, drain.begin)

    database = Database(
        settings.database_url,
        WORKER_CONNECTIONS,
        settings.instance or f"{service.name}-worker",
        NO_SEQUENTIAL_SCANS,
    )
    registry = Registry(settings.registry_url)
    kafka = KafkaTopics(settings.broker)
    consumer = _consumer(service, database, registry, kafka, settings)
    relay = Relay(service.name, settings.database_url, settings.broker, registry, kafka)
    registration = RegistrationCheck(service.topic, registry)
    database.wake_relay = relay.wake

    def is_alive() -> bool:
        return consumer.is_alive and relay.health.is_alive

    health = health_routes(
        lambda: database,
        is_alive,
        lambda: consumer.is_ready and relay.health.is_ready and not registration.missing,
        lambda: {
            "handles": sorted(event_type.NAME for event_type in service.handlers),
            "relay": relay.health.status,
            "held_partitions": list(consumer.held),
            "not_registered": list(registration.missing),
        },
    )
    health_server = _health_server(health, settings)
    serving = asyncio.create_task(health_server.serve())
    watching = asyncio.create_task(liveness.watch(is_alive))
    log.info("worker_started", topics=service.topics)
    purge: BackgroundTask = partial(retention.run, declared=service.retention)
    background_tasks = [
        restart_on_failure(task, database, settings, stop) for task in (purge, *service.background_tasks)
    ]
    await _until_all_end(consumer.run(stop), relay.run(stop), registration.run(stop), *background_tasks)
    watching.cancel()
    health_server.should_exit = True
    await serving
    await registry.aclose()
    await database.close()
    await traces.shutdown(min(traces.FLUSH_SECONDS, drain.seconds_left - EXIT_SECONDS))
    log.info("worker_drained")


def _consumer(
    service: Service, database: Database, registry: Registry, kafka: KafkaTopics, settings: Settings
) -> Consumer:
    settings = settings.model_copy(update={"gather_ms": service.gather_ms or settings.gather_ms})
    metrics.HOLDING.labels(service.name)  # 0 is a figure, too
    handled = {event_type.NAME for event_type in service.handlers}
    positions = Positions(service.name, database, handled, kafka)
    if service.dead_letter_handler:
        processor = DeadLetterConsumer(service.name, service.dead_letter_handler, database, registry)
        return Consumer(positions, re.compile(DEAD_LETTERS), processor, settings)
    return Consumer(positions, service.topics, EventProcessor(service, database, registry), settings)


async def restart_on_failure(
    task: BackgroundTask, database: Database, settings: Settings, stop: asyncio.Event
) -> None:
    """Restarts a failed background task; consumption and relay continue."""
    with suppress(Stopped):
        while True:
            try:
                await task(database, settings, stop)
                return
            except Exception as error:  # the last resort of this loop
                log.exception(
                    "background_task_failed", error=describe(error), next_try_seconds=BACKGROUND_RETRY_SECONDS
                )
            await pause(BACKGROUND_RETRY_SECONDS, stop)


async def _until_all_end(*loops: Coroutine[Any, Any, None]) -> None:
    """Runs all loops until they end. An error in one of them ends the process, and the supervisor restarts it."""
    async with asyncio.TaskGroup() as group:
        for loop in loops:
            group.create_task(loop)


class _Drain:
    """Stops the worker, and ends the process if that takes longer than `seconds`."""

    def __init__(self, stop: asyncio.Event, seconds: float) -> None:
        self._stop = stop
        self._seconds = seconds
        self._ends: float | None = None

    def begin(self) -> None:
        log.info("draining", at_most_seconds=self._seconds)
        self._stop.set()
        loop = asyncio.get_running_loop()
        self._ends = loop.time() + self._seconds
        loop.call_later(self._seconds, os._exit, EXIT_DRAIN_TOO_SLOW)

    @property
    def seconds_left(self) -> float:
        return self._seconds if self._ends is None else self._ends - asyncio.get_running_loop().time()


class _HealthServer(uvicorn.Server):
    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        """Leaves signals to the worker."""
        return nullcontext()


def _health_server(routes: Sequence[BaseRoute], settings: Settings) -> uvicorn.Server:
    app = Starlette(routes=routes)
    return _HealthServer(
        uvicorn.Config(app, settings.http_host, settings.http_port, log_config=None, access_log=False)
    )
