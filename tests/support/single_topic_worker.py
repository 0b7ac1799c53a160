"""Runs a worker that reads one topic: `python -m tests.support.single_topic_worker TOPIC`; its group is the topic."""

import asyncio
import sys

from chassis import worker
from chassis.config import Settings
from chassis.service import load
from chassis.telemetry import traces
from chassis.telemetry.logs import configure_logging
from schemas import OrderPlaced

if __name__ == "__main__":
    OrderPlaced.TOPIC = sys.argv[1]
    service = load("notifications")
    service.name, service.background_tasks = sys.argv[1], []
    service.handlers = {OrderPlaced: service.handlers[OrderPlaced]}
    configure_logging(service.name, "worker", "WARNING")
    settings = Settings()
    traces.configure(service.name, "worker", "", settings.trace_events == "each")
    asyncio.run(worker.run(service, settings))
