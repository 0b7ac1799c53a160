"""The exporter of the profile `observability`, in its container: what it may read is enough for all figures."""

import json
from collections.abc import Iterator

import pytest

from tests.support.containers import Containers
from tests.support.system import System, until

PROFILE = "--profile", "observability"
ASK = """
import json, urllib.request
text = urllib.request.urlopen("http://127.0.0.1:8000/metrics", timeout=10).read().decode()
print(json.dumps([line for line in text.splitlines() if not line.startswith("#")]))
"""


@pytest.fixture
def exporter(containers: Containers) -> Iterator[Containers]:
    containers.compose(*PROFILE, "up", "--detach", "--wait", "exporter")
    yield containers
    containers.compose(*PROFILE, "rm", "--stop", "--force", "exporter")


async def test_the_exporter_reads_all_figures_with_its_own_login(
    exporter: Containers, system: System
) -> None:
    await system.order()

    async def measured() -> list[str] | None:
        done = exporter.inside("exporter", ASK)
        lines: list[str] = json.loads(done.stdout) if done.returncode == 0 else []
        return lines if any(line.startswith("fanout_orders{") for line in lines) else None

    lines = await until(measured, 60)
    errors = {line for line in lines if line.startswith("fanout_exporter_error")}
    assert errors and {line.split()[-1] for line in errors} == {"0.0"}
    for metric in (
        "kafka_consumergroup_group_lag_seconds{",
        "kafka_partition_latest_offset{",
        "fanout_outbox_unsent{",
    ):
        assert any(line.startswith(metric) for line in lines), metric


def test_the_exporter_has_its_own_addresses_and_no_key(exporter: Containers) -> None:
    listed = exporter.inside("exporter", "import os; print(os.getuid(), *os.listdir('/run/secrets'))")
    assert listed.stdout.split() == ["10001", "addresses.json"]
