"""How our tools talk to Kafka: quietly, and quick to notice that it is back."""

import logging
from functools import cache
from typing import Any

from confluent_kafka.admin import AdminClient

from chassis.config import Broker
from fanout.local.ports import HOST, Ports

SILENT = logging.getLogger("fanout.kafka")
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False


def admin(ports: Ports) -> AdminClient:
    """Of the local stack."""
    return admin_of(Broker(f"{HOST}:{ports.kafka}"))


@cache
def admin_of(broker: Broker) -> AdminClient:
    settings: dict[str, Any] = {
        **broker.for_librdkafka(),
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 200,
        "error_cb": lambda _: None,
    }
    return AdminClient(settings, logger=SILENT)
