"""What Prometheus asks for metrics, as a file that it reads again whenever it changes: one for each way to run."""

import json
from collections.abc import Iterable
from typing import NamedTuple


class Target(NamedTuple):
    """A process, as `fanout status` and docker-compose.yml name it, and where it answers `/metrics`."""

    process: str
    address: str
    service: str = ""


def as_json(targets: Iterable[Target]) -> str:
    """Returns the file that deploy/observability/prometheus.yml reads; each process is a job of its own."""
    groups = [
        {
            "targets": [each.address],
            "labels": {"job": each.process} | ({"service": each.service} if each.service else {}),
        }
        for each in targets
    ]
    return json.dumps(groups, indent=2) + "\n"
