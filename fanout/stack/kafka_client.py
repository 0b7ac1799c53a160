"""How our tools connect to Kafka: quietly, and quick to notice that it is back."""

import logging
from typing import Any

from fanout.stack.ports import HOST, Ports

SILENT = logging.getLogger("fanout.kafka")
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False


def settings(ports: Ports) -> dict[str, Any]:
    return {
        "bootstrap.servers": f"{HOST}:{ports.kafka}",
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 200,
        "logger": SILENT,
        "error_cb": lambda _: None,
    }
