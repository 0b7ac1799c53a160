"""How our tools talk to Kafka: quietly, and quick to notice that it is back."""

import logging
from functools import cache
from typing import Any

from confluent_kafka.admin import AdminClient

from fanout.stack.ports import HOST, Ports

SILENT = logging.getLogger("fanout.kafka")
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False


@cache
def admin(ports: Ports) -> AdminClient:
    settings: dict[str, Any] = {
        "bootstrap.servers": f"{HOST}:{ports.kafka}",
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 200,
        "error_cb": lambda _: None,
    }
    return AdminClient(settings, logger=SILENT)
