"""Every query of every dashboard and alert finds data in a real Prometheus that watches the running system."""

from collections.abc import Sequence
from pathlib import Path
from time import monotonic

import pytest

from deploy.observability.dashboards.__main__ import FOLDER
from tests.support.dashboards import queries_of
from tests.support.prometheus import (
    Prometheus,
    Query,
    needs_prometheus,
    queries_of_rules,
    unanswered,
    watching,
)
from tests.support.system import System
from tests.support.troubles import a_parked_message, a_partition_said_to_be_held, stopped

SECONDS = 90


@needs_prometheus
@pytest.mark.timeout(240)
async def test_every_query_of_every_dashboard_and_alert_returns_data(system: System, tmp_path: Path) -> None:
    queries = [*queries_of_rules(), *queries_of(FOLDER)]
    assert len(queries) > 80
    async with (
        watching(system.stack, tmp_path, "1s") as prometheus,
        a_parked_message(system),
        stopped(system, "analytics-worker"),
        a_partition_said_to_be_held(system),
    ):
        await answered(prometheus, queries, system)


async def answered(prometheus: Prometheus, queries: Sequence[Query], system: System) -> None:
    """Places orders until each query has had an answer; fails with those that had none."""
    deadline, missing = monotonic() + SECONDS, list(queries)
    while missing := await unanswered(prometheus, missing):
        assert monotonic() < deadline, "\n".join(f"{each.source}: {each.expression}" for each in missing)
        await system.load(20, 20)
