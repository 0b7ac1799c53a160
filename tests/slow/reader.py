"""A whole worker that reads one topic only: `python -m tests.slow.reader TOPIC`. Its group is called like the topic."""

import asyncio
import sys

from chassis import worker
from chassis.config import Settings
from chassis.logs import configure_logging
from chassis.service import load
from schemas import OrderPlaced

if __name__ == "__main__":
    OrderPlaced.TOPIC = sys.argv[1]
    service = load("notifications")
    service.name, service.background_tasks = sys.argv[1], []
    service.handlers = {OrderPlaced: service.handlers[OrderPlaced]}
    configure_logging(service.name, "worker", "WARNING")
    asyncio.run(worker.run(service, Settings()))
