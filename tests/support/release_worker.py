"""Runs a worker of another release: `python -m tests.support.release_worker CHANGES`, which is JSON.

`service` is the service to run, `name` its name and group; `topics` maps event types to the topics on which they are;
`unknown` are event types that this release does not have, `handled` those for which it has a handler.
"""

import asyncio
import json
import sys

from chassis import worker
from chassis.config import Settings
from chassis.events.record import EVENT_TYPES
from chassis.service import load
from chassis.telemetry.logs import configure_logging

if __name__ == "__main__":
    changes = json.loads(sys.argv[1])
    service = load(changes["service"])
    service.name, service.background_tasks = changes["name"], []
    for type_name, topic in changes["topics"].items():
        if service.topic == EVENT_TYPES[type_name].TOPIC:
            service.topic = topic
        EVENT_TYPES[type_name].TOPIC = topic
    service.handlers = {
        event_type: handler
        for event_type, handler in service.handlers.items()
        if event_type.NAME in changes["handled"]
    }
    for type_name in changes["unknown"]:
        del EVENT_TYPES[type_name]  # type: ignore[attr-defined]
    configure_logging(service.name, "worker", "INFO")
    asyncio.run(worker.run(service, Settings()))
